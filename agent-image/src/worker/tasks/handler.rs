//! Which handler runs a part of a task, with the one `node` that the job's image has. Pure.

use super::definition::Handler;

/// Handlers that this agent runs, and the node that each was made for.
const NODE: [(&str, u32); 5] = [
    ("Node24", 24),
    ("Node20_1", 20),
    ("Node16", 16),
    ("Node10", 10),
    ("Node", 6),
];
/// A node as old as this runs what was made for any newer one, as far as it goes; older ones lack too much.
const OLDEST_FOR_NEWER: u32 = 16;

/// The handler that is used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chosen<'a> {
    pub(crate) handler: &'a Handler,
    /// The task was made for this newer node.
    pub(crate) wants: Option<u32>,
}

/// Why no handler can be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandlerError {
    /// Made for another system.
    #[error(
        "The task {task} cannot run on Linux: it has {handlers} only. This agent runs Node handlers; use a task, or a version of it, that has one."
    )]
    OtherSystem {
        /// Name and version.
        task: String,
        /// What it has.
        handlers: String,
    },
    /// A part of the official agent, which only that one has.
    #[error(
        "The task {task} is a part of Microsoft's own agent ({target}), which this agent does not have yet."
    )]
    Plugin {
        /// Name and version.
        task: String,
        /// Which.
        target: String,
    },
    /// The image's node is too old for all of them.
    #[error(
        "The task {task} needs Node {wants} or newer, and the job's image has Node {has}. Use an image with a newer node."
    )]
    NodeTooOld {
        /// Name and version.
        task: String,
        /// The oldest that would do.
        wants: u32,
        /// What there is.
        has: u32,
    },
}

/// Whether a node is needed at all; looked at before one is searched for.
pub(crate) fn needs_node(handlers: &[Handler], task: &str) -> Result<(), HandlerError> {
    if handlers.iter().any(|handler| made_for(handler).is_some()) {
        return Ok(());
    }
    let plugin = handlers
        .iter()
        .find(|handler| handler.name.eq_ignore_ascii_case("AgentPlugin"));
    if let Some(plugin) = plugin {
        return Err(HandlerError::Plugin {
            task: task.to_owned(),
            target: plugin.target.chars().take(120).collect(),
        });
    }
    let names: Vec<&str> = handlers
        .iter()
        .map(|handler| handler.name.as_str())
        .collect();
    Err(HandlerError::OtherSystem {
        task: task.to_owned(),
        handlers: match names.as_slice() {
            [] => "no handler".to_owned(),
            names => format!("the handlers {}", names.join(", ")),
        },
    })
}

/// The newest handler that this node serves; else the oldest that was made for a newer one.
pub(crate) fn choose<'a>(
    handlers: &'a [Handler],
    task: &str,
    has: u32,
) -> Result<Chosen<'a>, HandlerError> {
    needs_node(handlers, task)?;
    let made = || handlers.iter().filter_map(|it| Some((made_for(it)?, it)));
    if let Some((_, handler)) = made()
        .filter(|(wants, _)| *wants <= has)
        .max_by_key(|(wants, _)| *wants)
    {
        let wants = None;
        return Ok(Chosen { handler, wants });
    }
    match made().min_by_key(|(wants, _)| *wants) {
        Some((wants, handler)) if has >= OLDEST_FOR_NEWER => Ok(Chosen {
            handler,
            wants: Some(wants),
        }),
        oldest => Err(HandlerError::NodeTooOld {
            task: task.to_owned(),
            wants: oldest.map_or(0, |(wants, _)| wants),
            has,
        }),
    }
}

fn made_for(handler: &Handler) -> Option<u32> {
    NODE.iter()
        .find(|(name, _)| handler.name.eq_ignore_ascii_case(name))
        .map(|(_, wants)| *wants)
}

/// The major version in what `node --version` says.
pub(crate) fn major_version(said: &str) -> Option<u32> {
    let version = said.trim().strip_prefix('v')?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handlers(names: &[&str]) -> Vec<Handler> {
        names
            .iter()
            .map(|name| Handler {
                name: (*name).to_owned(),
                target: format!("{name}.js"),
                directory: None,
            })
            .collect()
    }

    fn chosen(names: &[&str], has: u32) -> Option<(String, Option<u32>)> {
        let handlers = handlers(names);
        let chosen = choose(&handlers, "t", has).ok()?;
        Some((chosen.handler.name.clone(), chosen.wants))
    }

    #[test]
    fn the_newest_that_the_images_node_serves_is_used() {
        let of = |name: &str, wants| Some((name.to_owned(), wants));
        for (names, has, expected) in [
            (
                &["Node10", "Node20_1", "Node16"][..],
                20,
                of("Node20_1", None),
            ),
            (&["Node10", "node20_1"], 18, of("Node10", None)),
            (&["Node", "PowerShell3"], 22, of("Node", None)),
            (&["Node24", "Node20_1"], 20, of("Node20_1", None)),
            (&["Node24"], 20, of("Node24", Some(24))),
            (&["Node20_1"], 14, None),
        ] {
            assert_eq!(chosen(names, has), expected, "{names:?} with {has}");
        }
    }

    #[test]
    fn what_cannot_run_here_says_why() {
        let says = |names: &[&str]| choose(&handlers(names), "T@1", 20).unwrap_err().to_string();
        assert!(says(&["PowerShell3", "Process"]).contains("PowerShell3, Process"));
        assert!(says(&["AgentPlugin"]).contains("Microsoft's own agent"));
        assert!(says(&[]).contains("no handler"));
    }

    #[test]
    fn versions_of_node_are_read() {
        assert_eq!(major_version("v20.20.2\n"), Some(20));
        assert_eq!(major_version("v6.17.1"), Some(6));
        assert_eq!(major_version("Python 3"), None);
    }
}
