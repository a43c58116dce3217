//! What the webhook advises at `kubectl apply`. Where the suite is lived without it, the orders' own conditions must say
//! the same.

use crate::kubectl::Kubectl;
use crate::platform::has_webhook;
use crate::wait::{eventually, seconds};
use anyhow::{Result, ensure};
use serde_json::Value;

/// Whether there is advice here; where there is none, says what is not looked at.
pub fn given(what: &str) -> bool {
    if !has_webhook() {
        println!("without webhook, not looked at: {what}");
    }
    has_webhook()
}

/// A new order that is refused with all of these texts: at once, or without webhook by its conditions. Nothing is left.
///
/// # Errors
/// When it is admitted, or refused for another reason.
pub async fn refused(who: &Kubectl, order: &str, texts: &[&str]) -> Result<()> {
    if !edit_refused(who, order, texts).await? {
        return Ok(());
    }
    let unprotected = r#"{"spec":{"deletionProtection":false}}"#;
    for arguments in [
        vec!["patch", "-f", "-", "--type=merge", "-p", unprotected],
        vec!["delete", "-f", "-", "--timeout=60s"],
    ] {
        let printed = who.try_with(&arguments, order).await?;
        ensure!(printed.ok, "kubectl {} said: {}", arguments.join(" "), printed.err.trim());
    }
    Ok(())
}

/// An edit that is refused with all of these texts. Without webhook it is stored, the conditions say why nothing comes of
/// it, and the answer is true. What the schema or a policy refuses is refused at once here as there.
///
/// # Errors
/// When it is admitted, or refused for another reason.
pub async fn edit_refused(who: &Kubectl, order: &str, texts: &[&str]) -> Result<bool> {
    if has_webhook() {
        return who.refused(order, texts).await.map(|_| false);
    }
    let printed = who.try_with(&["apply", "-f", "-"], order).await?;
    if !printed.ok {
        let missing: Vec<_> = texts.iter().filter(|text| !printed.err.contains(**text)).collect();
        ensure!(missing.is_empty(), "the refusal must say {missing:?}; it says: {}", printed.err.trim());
        return Ok(false);
    }
    eventually(seconds(25), &format!("a condition of the order to say {texts:?}"), || async {
        let printed = who.try_with(&["get", "-f", "-", "-o", "json"], order).await?;
        ensure!(printed.ok, "{}", printed.err.trim());
        // From its standard input kubectl reads a list, even of one.
        let list: Value = serde_json::from_str(&printed.out)?;
        let order = list.pointer("/items/0").unwrap_or(&list);
        let conditions = order.pointer("/status/conditions").and_then(Value::as_array);
        let mut denied = conditions.into_iter().flatten().filter(|c| c["type"] == "Stalled");
        let says = |condition: &Value| {
            let message = condition["message"].as_str().unwrap_or_default();
            texts.iter().all(|text| message.contains(text))
        };
        ensure!(denied.any(says), "they are {conditions:?}");
        Ok(())
    })
    .await?;
    Ok(true)
}
