//! The objects as they change, from `kubectl get --watch`.

use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{self, sleep};
use std::time::Duration;

use serde_json::{Deserializer, Value};

use super::decide::text;

/// How long to wait before watching again after a watch ended.
const PAUSE: Duration = Duration::from_secs(1);

/// What a watch tells.
#[derive(Debug)]
pub enum Event {
    /// What was known of this kind no longer counts; everything there is follows.
    Restarted(&'static str),
    /// An object is, or is so now.
    Is(&'static str, Value),
    /// An object is gone.
    Gone(&'static str, Value),
}

/// Watches one kind until the process ends. `kubectl` gives the command up to the verb.
pub fn watch(kind: &'static str, kubectl: impl Fn() -> Command + Send + 'static, events: Sender<Event>) {
    thread::spawn(move || {
        while events.send(Event::Restarted(kind)).is_ok() {
            let get = ["get", kind, "--all-namespaces", "--watch", "--output-watch-events", "-o", "json"];
            let child = kubectl().args(get).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
            match child {
                Ok(mut child) => {
                    if let Some(stream) = child.stdout.take() {
                        Deserializer::from_reader(stream)
                            .into_iter::<Value>()
                            .map_while(Result::ok)
                            .for_each(|line| forward(kind, line, &events));
                    }
                    let _ended = child.kill().and_then(|()| child.wait());
                }
                Err(error) => eprintln!("failed to start kubectl: {error}"),
            }
            sleep(PAUSE);
        }
    });
}

fn forward(kind: &'static str, mut line: Value, events: &Sender<Event>) {
    let object = line["object"].take();
    let event = match text(&line, "/type") {
        "ADDED" | "MODIFIED" => Event::Is(kind, object),
        "DELETED" => Event::Gone(kind, object),
        _ => return,
    };
    let _nobody_listens = events.send(event);
}
