//! A rotation's part that looks: tries the login that is being made, ends the one that is retired, and tells what was found.

use crate::check::Valid;
use crate::condition::whole_second;
use crate::context::Context;
use crate::names::{Names, binding};
use crate::object::ChildKind;
use crate::order::Kind;
use crate::probe::Target;
use crate::rotation::{Facts, Phase, Rotation};
use crate::seen::{Seen, secret_value};
use jiff::Timestamp;
use std::time::Duration;

/// A time that has come and still changed nothing is looked at again so often; what it waits for tells of itself sooner.
const AGAIN: Duration = Duration::from_secs(15);

/// The state that an order's logins go on to, if they do. Keeps trying what the present state is about.
pub fn next(
    valid: &Valid,
    names: &Names,
    seen: &mut Seen,
    context: &Context,
    now: Timestamp,
) -> Option<Rotation> {
    // People read these times.
    let now = whole_second(now);
    let trigger = valid.order.spec.rotation_trigger.clone().unwrap_or_default();
    let Some(cluster) = seen.cluster(names) else {
        // What a new order says is no change, and must be known as what it said.
        return (!trigger.is_empty()).then(|| Rotation::first(now, &trigger));
    };
    let rotation = Rotation::of(cluster)?;
    seen.turning = try_turn(valid, names, &rotation, seen, context);
    let done = seen.turning == Some(Ok(()));
    let facts = Facts {
        trigger,
        rotation_days: valid.rotation_days,
        grace_seconds: valid.grace_seconds,
        bound_works: seen.login == Some(Ok(())) && !valid.order.spec.suspend,
        newest_works: rotation.phase == Phase::Making && done,
        newest_is_bound: is_bound(valid, names, &rotation, seen),
        closed: rotation.phase == Phase::Closing && done,
    };
    rotation.next(&facts, now)
}

/// How long until time alone changes something of the logins.
pub fn wait(valid: &Valid, names: &Names, seen: &Seen, now: Timestamp) -> Option<Duration> {
    let wakes = seen.cluster(names).and_then(Rotation::of)?.wakes(valid.rotation_days)?;
    Some(Duration::try_from(wakes.duration_since(now)).unwrap_or_default().max(AGAIN))
}

/// The order whose login a try is about.
pub fn order_of(turn: &str) -> Option<&str> {
    turn.split_once('/').map(|(uid, _)| uid)
}

/// Tries nothing more of an order.
pub fn forget(context: &Context, uid: &str) {
    context.turner.keep_only(|turn| order_of(turn) != Some(uid));
}

/// What the last try found of the login that the state is about, and nothing of any other.
fn try_turn(
    valid: &Valid,
    names: &Names,
    rotation: &Rotation,
    seen: &Seen,
    context: &Context,
) -> Option<crate::probe::Outcome> {
    let order = &valid.order;
    let uid = order.uid.as_str();
    let (secret, closing) = match rotation.phase {
        Phase::Making => (names.login_secret(rotation.number), false),
        Phase::Closing => (names.closing_secret(rotation.before()), true),
        _ => {
            forget(context, uid);
            return None;
        }
    };
    let runs = seen.engine_runs(names, order.at.kind == Kind::Documents);
    let source = seen.get(ChildKind::Secret, &names.engine, &secret);
    let authority = &context.platform.authority_pem;
    let target = source.and_then(|s| Target::from_source(order.at.kind, names, s, authority, closing));
    let target = target.filter(|_| runs && !order.spec.suspend);
    let Some(target) = target else {
        forget(context, uid);
        return None;
    };
    // Another password is another try, so that no outcome is taken for that of another login.
    let turn = format!("{uid}/{}", target.digest());
    context.turner.keep_only(|other| order_of(other) != Some(uid) || other == turn);
    context.turner.watch(&turn, &order.at, &valid.tenant, target);
    context.turner.outcome(&turn)
}

/// Whether the binding holds the newest login.
pub fn is_bound(valid: &Valid, names: &Names, rotation: &Rotation, seen: &Seen) -> bool {
    let at = &valid.order.at;
    let bound = seen.get(ChildKind::Secret, &at.namespace, &binding(at));
    let newest = seen.get(ChildKind::Secret, &names.engine, &names.login_secret(rotation.number));
    let (Some(bound), Some(newest)) = (bound, newest) else { return false };
    ["username", "password"].iter().all(|key| {
        let value = secret_value(newest, key);
        value.is_some() && value == secret_value(bound, key)
    })
}
