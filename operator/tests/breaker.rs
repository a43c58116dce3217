//! Too many deletions of data are stopped, and nothing but a confirmation of that very stop lets more through.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use siyada_model::act::PlatformAct;
use siyada_operator::breaker::{Notes, Verdict, WINDOW, confirmed_by, read};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

#[test]
fn the_first_above_the_number_is_stopped_until_its_stop_is_confirmed() {
    let mut notes = Notes::default();
    for n in 0..3 {
        let (after, verdict) = notes.judge(&format!("u{n}"), None, 3, at(n));
        assert_eq!(verdict, Verdict::Through, "u{n}");
        notes = after;
    }
    let (again, verdict) = notes.judge("u1", None, 3, at(4));
    assert_eq!((again.let_through.len(), verdict), (3, Verdict::Through), "one order is counted once");
    let (stopped, verdict) = again.judge("u3", None, 3, at(5));
    assert_eq!(verdict, Verdict::Stopped(at(5)));
    // A restart reads what was written.
    let stopped: Notes = serde_json::from_str(&serde_json::to_string(&stopped).unwrap()).unwrap();
    let earlier = at(4).to_string();
    for confirmed in [None, Some(""), Some("true"), Some(earlier.as_str())] {
        let late = at(5) + WINDOW + SignedDuration::from_hours(100);
        let (_, verdict) = stopped.clone().judge("u3", confirmed, 3, late);
        assert_eq!(verdict, Verdict::Stopped(at(5)), "{confirmed:?}");
    }
    let moment = at(5).to_string();
    let (mut notes, verdict) = stopped.judge("u3", Some(&moment), 3, at(60));
    assert_eq!(verdict, Verdict::Through);
    // The confirmation stays on the object and is good for that stop only.
    for n in 4..6 {
        let (after, verdict) = notes.judge(&format!("u{n}"), Some(&moment), 3, at(61));
        assert_eq!(verdict, Verdict::Through, "u{n}");
        notes = after;
    }
    assert_eq!(notes.judge("u6", Some(&moment), 3, at(62)).1, Verdict::Stopped(at(62)));
}

#[test]
fn deletions_that_lie_apart_do_not_stop() {
    let mut notes = Notes::default();
    for n in 0..100 {
        let (after, verdict) = notes.judge(&format!("u{n}"), None, 2, at(n * 301));
        assert_eq!(verdict, Verdict::Through, "u{n}");
        notes = after;
    }
    assert!(notes.let_through.len() <= 2, "the notes grow: {notes:?}");
}

#[test]
fn notes_that_cannot_be_read_stop_and_are_written_anew() {
    assert_eq!(read(None, at(0)), (Notes::default(), false));
    let (notes, unread) = read(Some("{\"letThrough"), at(7));
    assert!(unread && notes.stopped == Some(at(7)), "{notes:?}");
    assert_eq!(notes.judge("u", None, 3, at(8)).1, Verdict::Stopped(at(7)));
}

#[test]
fn the_record_of_a_confirmation_names_the_stop_who_confirmed_and_what_was_let_through() {
    let mut notes = Notes::default();
    for n in 0..2 {
        notes = notes.judge(&format!("u{n}"), None, 2, at(n)).0;
    }
    let (stopped, _) = notes.judge("u2", None, 2, at(5));
    let act = confirmed_by(&stopped, at(5), Some("oidc:amina"), "cluster-1");
    assert_eq!((act.by.as_str(), act.stopped), ("oidc:amina", at(5)));
    assert_eq!(act.let_through.iter().map(ToString::to_string).collect::<Vec<_>>(), ["u0", "u1"]);
    PlatformAct::ConfirmDeletions(act).check().unwrap();
    let unstamped = confirmed_by(&stopped, at(5), None, "cluster-1");
    PlatformAct::ConfirmDeletions(unstamped).check().unwrap();
}

proptest! {
    /// Without a confirmation no window of ten minutes has more orders than the number, whatever comes.
    #[test]
    fn no_window_has_more_than_the_number(
        most in 1_usize..6,
        asked in prop::collection::vec((0_u8..30, 0_i64..400), 1..60),
    ) {
        let (mut notes, mut now, mut through) = (Notes::default(), 0, Vec::new());
        for (order, later) in asked {
            now += later;
            let (after, verdict) = notes.judge(&order.to_string(), None, most, at(now));
            if verdict == Verdict::Through {
                through.push((now, order));
            }
            notes = after;
        }
        for (first, _) in &through {
            let inside = through.iter().filter(|(t, _)| (*first..first + WINDOW.as_secs()).contains(t));
            let mut orders: Vec<u8> = inside.map(|(_, order)| *order).collect();
            orders.sort_unstable();
            orders.dedup();
            prop_assert!(orders.len() <= most, "{orders:?}");
        }
    }
}
