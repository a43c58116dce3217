//! Every role against every verb on every kind, as the API server itself answers it. What it must answer is `roles.txt`.

use super::tenancy::{cleared, grant, made, revoke};
use crate::kubectl::Kubectl;
use crate::platform::SYSTEM;
use crate::soak::server::{Answer, Server};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

const TABLE: &str = include_str!("roles.txt");
/// The roles of a Tenant's access: the first columns.
const ROLES: [&str; 6] = ["requester", "admin", "approver", "finance", "certifier", "auditor"];
/// Everybody else who is asked about.
const OTHERS: [&str; 4] = ["account", "owner", "platform", "nobody"];
/// Verbs that are asked about of everything.
const VERBS: [(char, &str); 8] = [
    ('g', "get"),
    ('l', "list"),
    ('w', "watch"),
    ('c', "create"),
    ('u', "update"),
    ('p', "patch"),
    ('d', "delete"),
    ('x', "deletecollection"),
];
/// Questions under way at once.
const AT_ONCE: usize = 16;

/// The tenant whose people are asked about, the one below it and one beside it.
const OWN: &str = "story-roles";
const BELOW: &str = "story-roles-sub";
const OTHER: &str = "story-apart";

/// A row: one thing in one place, and what each may do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    group: String,
    resource: String,
    place: String,
    may: Vec<String>,
}

/// A cell of the table for one verb.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    who: &'static str,
    verb: &'static str,
    group: String,
    resource: String,
    place: String,
    may: bool,
}

fn columns() -> impl Iterator<Item = &'static str> {
    ROLES.into_iter().chain(OTHERS)
}

/// The verbs that mean something for a resource, with their letters.
fn verbs(resource: &str) -> Vec<(char, &'static str)> {
    let more: &[(char, &str)] = match resource {
        "tenants" => &[('e', "delegate")],
        "roles" | "clusterroles" => &[('b', "bind"), ('s', "escalate")],
        "serviceaccounts" => &[('i', "impersonate")],
        // These are served nowhere: there are rights over them, and nothing else.
        "users" | "groups" => return vec![('i', "impersonate")],
        _ if resource.strip_prefix("tenants/").is_some_and(|role| ROLES.contains(&role)) => {
            return vec![('r', "grant")];
        }
        _ => &[],
    };
    VERBS.iter().chain(more).copied().collect()
}

/// Reads the table.
///
/// # Errors
/// Says which line is wrong.
fn read(text: &str) -> Result<Vec<Row>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut lines = lines.map(|line| (line, line.split_whitespace().collect::<Vec<_>>()));
    let (_, head) = lines.next().context("the table is empty")?;
    ensure!(
        head.iter().copied().eq(["what", "where"].into_iter().chain(columns())),
        "the columns are {head:?}"
    );
    let (mut rows, mut group) = (Vec::<Row>::new(), String::new());
    for (line, words) in lines {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            group = if name == "core" { String::new() } else { name.to_owned() };
            continue;
        }
        let [resource, place, may @ ..] = words.as_slice() else { bail!("{line:?} is no row") };
        ensure!(may.len() == columns().count(), "{line:?} has {} cells", may.len());
        for letter in may.iter().flat_map(|cell| cell.chars()).filter(|letter| *letter != '-') {
            ensure!(
                verbs(resource).iter().any(|(l, _)| *l == letter),
                "{line:?} has {letter:?}, which is no verb of it"
            );
        }
        let may = may.iter().map(|cell| (*cell).to_owned()).collect();
        let row = Row { group: group.clone(), resource: (*resource).into(), place: (*place).into(), may };
        let same = |r: &Row| (&r.group, &r.resource, &r.place) == (&row.group, &row.resource, &row.place);
        ensure!(!rows.iter().any(same), "{line:?} is there twice");
        rows.push(row);
    }
    Ok(rows)
}

/// Every cell of the table for every verb.
fn questions(rows: &[Row]) -> Vec<Question> {
    let of_cell = |row: &Row, who: &'static str, cell: &str| {
        let question = |(letter, verb)| Question {
            who,
            verb,
            group: row.group.clone(),
            resource: row.resource.clone(),
            place: row.place.clone(),
            may: cell.contains(letter),
        };
        verbs(&row.resource).into_iter().map(question).collect::<Vec<_>>()
    };
    rows.iter()
        .flat_map(|row| columns().zip(&row.may).flat_map(move |(who, c)| of_cell(row, who, c)))
        .collect()
}

/// What differs from the table, a sentence each.
fn blamed<'a>(questions: &'a [Question], answers: &[bool]) -> Vec<(&'a Question, String)> {
    let wrong = questions.iter().zip(answers).filter(|(question, answer)| question.may != **answer);
    let told = wrong.map(|(question, _)| {
        let Question { who, verb, group, resource, place, may } = question;
        let (is, must) = if *may { ("may not", "must") } else { ("may", "must not") };
        (question, format!("{who} {is} {verb} {resource} {group} in {place:?} and {must}"))
    });
    told.collect()
}

/// User and groups of a column.
fn subject(who: &str) -> (String, Vec<String>) {
    let everybody = "system:authenticated".to_owned();
    match who {
        "account" => {
            let user = format!("system:serviceaccount:{OWN}-apps:default");
            let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{OWN}-apps")];
            (user, groups.into_iter().chain([everybody]).collect())
        }
        _ => (format!("{OWN}-{who}"), vec![format!("{OWN}-group-{who}"), everybody]),
    }
}

/// Namespace and name of a place, for a resource.
fn place(place: &str, resource: &str) -> Result<(String, String)> {
    let tenant = match place {
        "own" => OWN,
        "below" => BELOW,
        "other" => OTHER,
        "engine" => return Ok((format!("siyada-t-{OWN}"), String::new())),
        "system" => return Ok((SYSTEM.to_owned(), String::new())),
        "any" => return Ok((String::new(), String::new())),
        _ => bail!("there is no place {place:?}"),
    };
    let is_tenant = resource.split('/').next() == Some("tenants");
    Ok(if is_tenant { (String::new(), tenant.to_owned()) } else { (format!("{tenant}-apps"), String::new()) })
}

/// The question as the API server takes it.
///
/// # Errors
/// When the place is none.
fn review(question: &Question) -> Result<Value> {
    let (user, groups) = subject(question.who);
    let (namespace, name) = place(&question.place, &question.resource)?;
    let (resource, below) = question.resource.split_once('/').unwrap_or((&question.resource, ""));
    let attributes = json!({
        "group": question.group, "resource": resource, "subresource": below, "verb": question.verb,
        "namespace": namespace, "name": name,
    });
    Ok(json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }))
}

async fn ask(server: &Server, questions: &[Question]) -> Result<Vec<bool>> {
    let one = |question: &Question| {
        let review = review(question);
        async move {
            match server.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review?).await? {
                Answer::Done(told) => told["status"]["allowed"].as_bool().context("no answer"),
                other => bail!("a question was answered {other:?}"),
            }
        }
    };
    futures::stream::iter(questions.iter().map(one)).buffered(AT_ONCE).try_collect().await
}

/// Asks the API server about every cell, in the tenant's own namespace, below, beside and everywhere.
pub async fn matrix() -> Result<()> {
    let rows = read(TABLE)?;
    let server = Server::named(OWN).await?;
    let lived = live(&server, &questions(&rows)).await;
    let left = async {
        revoke(OWN).await?;
        server.remove().await?;
        cleared(&[], &[BELOW, OWN, OTHER]).await
    };
    let left = left.await;
    lived.and(left)
}

/// The access of the tenant: every role to a group, and two to the service accounts of its namespace.
fn access() -> Value {
    let account = format!("system:serviceaccounts:{OWN}-apps");
    let to_a_group = ROLES.map(|role| json!({"role": role, "groups": [format!("{OWN}-group-{role}")]}));
    let to_accounts = ["requester", "finance"].map(|role| json!({"role": role, "groups": [account]}));
    to_a_group.into_iter().chain(to_accounts).collect()
}

async fn live(server: &Server, questions: &[Question]) -> Result<()> {
    grant(OWN, "siyada-platform", &format!("{OWN}-group-platform")).await?;
    made(OWN, None, &format!("access: {}", access())).await?;
    made(BELOW, Some(OWN), "access: []").await?;
    made(OTHER, None, "").await?;
    let (namespace, user) = (format!("{OWN}-apps"), format!("--user={OWN}-owner"));
    let bind = ["-n", &namespace, "create", "rolebinding", "owner", "--clusterrole=admin", &user];
    Kubectl::admin().run(&bind).await?;
    let first = ask(server, questions).await?;
    println!("{} questions about roles were answered", first.len());
    // The rights of tenant admins come some moments after the tenants are Ready.
    let open: Vec<Question> = blamed(questions, &first).into_iter().map(|(q, _)| q.clone()).collect();
    eventually(seconds(30), "the API server to say of every role what roles.txt says", || async {
        let answers = ask(server, &open).await?;
        let blamed: Vec<String> = blamed(&open, &answers).into_iter().map(|(_, sentence)| sentence).collect();
        ensure!(blamed.is_empty(), "{} cells differ: {}", blamed.len(), blamed.join("; "));
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use siyada_crds::Tenant;
    use siyada_operator::tenant::{delegation, parts};
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    fn wrong(questions: &[Question], answers: &[bool]) -> Vec<String> {
        blamed(questions, answers).into_iter().map(|(_, sentence)| sentence).collect()
    }

    #[test]
    fn a_cell_that_differs_is_blamed_and_no_other() {
        let all = questions(&read(TABLE).unwrap());
        let answers: Vec<bool> = all.iter().map(|question| question.may).collect();
        assert_eq!(wrong(&all, &answers), [""; 0]);
        let line = TABLE.lines().find(|line| line.starts_with("postgresinstances  ")).unwrap();
        let more = line.replacen("glw ", "glwd", 1);
        assert_ne!(line, more);
        let altered = questions(&read(&TABLE.replace(line, &more)).unwrap());
        let told = wrong(&altered, &answers);
        assert_eq!(
            told,
            ["approver may not delete postgresinstances siyada.cloud in \"own\" and must"],
            "one cell was altered"
        );
    }

    #[test]
    fn a_line_that_makes_no_sense_is_refused() {
        let check = |more: &str, expect: &str| {
            let error = read(&format!("{TABLE}{more}\n")).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("leases system - -", "has 2 cells");
        check("leases any - - - - - - - - e -", "is no verb of it");
        check("leases system - - - - - - - - - -", "is there twice");
        assert!(read(&TABLE.replace(" nobody", "")).is_err());
    }

    /// A new kind, a new subresource and a new role need their rows.
    #[test]
    fn every_kind_in_every_place_has_a_row_and_no_row_is_about_nothing() {
        let mut wanted = BTreeSet::new();
        let mut want = |resource: String, places: &[&str]| {
            wanted.extend(places.iter().map(|place| (resource.clone(), (*place).to_owned())));
        };
        for crd in siyada_crds::all() {
            let kind = &crd.spec.names.plural;
            let places: &[&str] = if crd.spec.scope == "Namespaced" || kind == "tenants" {
                &["own", "below", "other", "any"]
            } else {
                &["any"]
            };
            want(kind.clone(), places);
            want(format!("{kind}/finalizers"), places);
            for subresources in crd.spec.versions.iter().filter_map(|version| version.subresources.as_ref()) {
                let told = serde_json::to_value(subresources).unwrap();
                told.as_object().unwrap().keys().for_each(|name| want(format!("{kind}/{name}"), places));
            }
            if kind == "tenants" {
                parts::ROLES.iter().for_each(|role| want(format!("tenants/{}", parts::word(*role)), places));
            }
        }
        let rows = read(TABLE).unwrap();
        let ours = rows.iter().filter(|row| row.group == siyada_crds::GROUP);
        let there: BTreeSet<_> = ours.map(|row| (row.resource.clone(), row.place.clone())).collect();
        assert_eq!(there, wanted);
        assert_eq!(ROLES.to_vec(), parts::ROLES.map(parts::word).to_vec());
    }

    /// A right that somebody has: in a namespace or everywhere.
    struct Given {
        subject: String,
        namespace: String,
        rules: Value,
    }

    fn texts<'a>(rule: &'a Value, field: &str) -> Vec<&'a str> {
        rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    impl Given {
        fn answers(&self, question: &Question) -> bool {
            let (user, groups) = subject(question.who);
            let (namespace, name) = place(&question.place, &question.resource).unwrap();
            let is_he = self.subject == user || groups.contains(&self.subject);
            let is_there = self.namespace.is_empty() || self.namespace == namespace;
            is_he
                && is_there
                && self.rules.as_array().into_iter().flatten().any(|rule| {
                    let names = texts(rule, "resourceNames");
                    texts(rule, "apiGroups").contains(&question.group.as_str())
                        && texts(rule, "resources").contains(&question.resource.as_str())
                        && texts(rule, "verbs").contains(&question.verb)
                        && (names.is_empty() || names.contains(&name.as_str()))
                })
        }
    }

    /// What the chart says, with what Helm fills in left open.
    fn chart() -> Vec<Value> {
        let text = crate::platform::file("charts/siyada/templates/rbac.yaml").unwrap();
        // What stands under a condition counts as said; so does a list that Helm fills in.
        let kept =
            text.lines().filter(|line| !line.trim().starts_with("{{- with") && line.trim() != "{{- end }}");
        let mut text = kept.collect::<Vec<_>>().join("\n").replace("{{ toJson . }}", "[open]");
        while let (Some(from), Some(to)) = (text.find("{{"), text.find("}}")) {
            text.replace_range(from..to + 2, "open");
        }
        text.split("\n---\n").map(|one| serde_saphyr::from_str(one).unwrap()).collect()
    }

    fn tenant(name: &str, parent: Option<&str>, access: &Value) -> Tenant {
        let spec = json!({
            "kind": "Agency", "parent": parent, "namespaces": [format!("{name}-apps")],
            "dataClassification": "Internal", "access": access,
        });
        let kind = json!({"apiVersion": "siyada.cloud/v1alpha1", "kind": "Tenant"});
        let mut tenant = kind;
        tenant["metadata"] = json!({"name": name});
        tenant["spec"] = spec;
        serde_json::from_value(tenant).unwrap()
    }

    /// Everything that the chart and the operator give.
    fn given() -> Vec<Given> {
        let (own, other) = (tenant(OWN, None, &access()), tenant(OTHER, None, &json!([])));
        let below = tenant(BELOW, Some(OWN), &json!([]));
        let mut objects = chart();
        let chains: [(&str, Vec<&Tenant>); 3] =
            [(OWN, vec![&own]), (BELOW, vec![&below, &own]), (OTHER, vec![&other])];
        for (name, chain) in &chains {
            let namespaces = parts::namespaces(name, &format!("siyada-t-{name}"), chain, SYSTEM);
            objects.extend(namespaces.into_iter().flat_map(|n| n.parts).map(|part| part.body));
        }
        let tenants = [own, below, other].map(Arc::new);
        objects.extend(delegation::wanted(&tenants).into_iter().map(|part| part.body));
        let bind = |role: &str, namespace: &str, subject: String| {
            json!({
                "kind": "RoleBinding", "metadata": {"name": role, "namespace": namespace},
                "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"name": subject}],
            })
        };
        objects.push(bind("siyada-platform", "", format!("{OWN}-group-platform")));
        let named = |o: &&Value| o["kind"] == "ClusterRole";
        let roles: BTreeMap<String, Value> = objects
            .iter()
            .filter(named)
            .map(|role| (role["metadata"]["name"].as_str().unwrap().to_owned(), role["rules"].clone()))
            .collect();
        // What the cluster's own role `admin` takes in.
        let aggregates = |role: &&Value| {
            role.pointer("/metadata/labels/rbac.authorization.k8s.io~1aggregate-to-admin").is_some()
        };
        let taken: Vec<Value> = objects
            .iter()
            .filter(named)
            .filter(aggregates)
            .map(|r| {
                bind(r["metadata"]["name"].as_str().unwrap(), &format!("{OWN}-apps"), format!("{OWN}-owner"))
            })
            .collect();
        assert!(!taken.is_empty(), "the chart gives nothing to the cluster's own role");
        objects.extend(taken);
        let bindings = objects.iter().filter(|o| o["kind"].as_str().unwrap().ends_with("Binding"));
        let bindings = bindings.filter(|binding| binding["roleRef"]["kind"] == "ClusterRole");
        let of_binding = |binding: &Value| {
            let rules = &roles[binding["roleRef"]["name"].as_str().unwrap()];
            let namespace =
                binding.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
            let subjects = binding["subjects"].as_array().unwrap().iter();
            let given = subjects.map(|subject| Given {
                subject: subject["name"].as_str().unwrap().to_owned(),
                namespace: namespace.to_owned(),
                rules: rules.clone(),
            });
            given.collect::<Vec<_>>()
        };
        bindings.flat_map(of_binding).collect()
    }

    /// Without a cluster: the chart's roles, bound as the operator binds them, give what the table says. What the
    /// cluster's own role `admin` gives of other groups is for the story.
    #[test]
    fn the_chart_and_the_operator_give_what_the_table_says() {
        let given = given();
        let all = questions(&read(TABLE).unwrap());
        let all: Vec<Question> =
            all.into_iter().filter(|q| q.who != "owner" || q.group == siyada_crds::GROUP).collect();
        let answers: Vec<bool> =
            all.iter().map(|question| given.iter().any(|given| given.answers(question))).collect();
        assert!(answers.iter().filter(|answer| **answer).count() > 100, "hardly anything is given");
        assert_eq!(wrong(&all, &answers), [""; 0]);
    }
}
