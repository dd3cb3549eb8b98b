//! What may happen to a pool. Agents and jobs are named by number, so that a shorter sequence still makes sense.

use dayfly_wire::agent::Capabilities;
use proptest::prelude::*;
use proptest::sample::select;

/// Names of capabilities.
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

/// What a job asks for under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Anything,
    Exactly(u8),
    AtLeast(u8),
}

/// What an agent offers under each name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer(pub(crate) [Option<u8>; 3]);

/// What a job asks for under each name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demands(pub(crate) [Option<Want>; 3]);

impl Offer {
    pub(crate) fn capabilities(self) -> Capabilities {
        let named = NAMES.iter().zip(self.0);
        named
            .filter_map(|(name, value)| Some(((*name).to_owned(), value?.to_string())))
            .collect()
    }

    /// The same question as the service's, answered without its code.
    pub(crate) fn satisfies(self, demands: Demands) -> bool {
        self.0.into_iter().zip(demands.0).all(|pair| match pair {
            (_, None) | (Some(_), Some(Want::Anything)) => true,
            (None, Some(_)) => false,
            (Some(value), Some(Want::Exactly(wanted))) => value == wanted,
            (Some(value), Some(Want::AtLeast(wanted))) => value >= wanted,
        })
    }
}

impl From<&Capabilities> for Offer {
    fn from(capabilities: &Capabilities) -> Self {
        Self(NAMES.map(|name| capabilities.get(name).and_then(|value| value.parse().ok())))
    }
}

impl Demands {
    pub(crate) fn texts(self) -> Vec<String> {
        let named = NAMES.iter().zip(self.0);
        named
            .filter_map(|(name, want)| {
                Some(match want? {
                    Want::Anything => (*name).to_owned(),
                    Want::Exactly(value) => format!("{name} -equals {value}"),
                    Want::AtLeast(value) => format!("{name} -gtVersion {value}"),
                })
            })
            .collect()
    }
}

/// One call, or the passing of time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Register { offer: Offer, single_use: bool },
    Change { agent: usize, offer: Offer },
    Enable { agent: usize, enabled: bool },
    ReplaceKey { agent: usize },
    Delete { agent: usize },
    Open { agent: usize },
    Close { agent: usize },
    Poll { agent: usize, again: bool },
    Acknowledge { agent: usize },
    Renew { agent: usize },
    RenewAny { agent: usize, job: usize },
    Finish { agent: usize, leaving: bool },
    Queue { demands: Demands, minutes: i64 },
    End { job: usize },
    Cancel { job: usize },
    Pass { seconds: i64 },
    Sweep,
}

impl Operation {
    /// The same, with the agent's number as it is among so many: others may be registered at the same time.
    pub(crate) fn among(mut self, agents: usize) -> Self {
        use Operation::*;
        match &mut self {
            Change { agent, .. }
            | Enable { agent, .. }
            | ReplaceKey { agent }
            | Delete { agent }
            | Open { agent }
            | Close { agent }
            | Poll { agent, .. }
            | Acknowledge { agent }
            | Renew { agent }
            | RenewAny { agent, .. }
            | Finish { agent, .. } => *agent = agent.checked_rem(agents).unwrap_or_default(),
            Register { .. } | Queue { .. } | End { .. } | Cancel { .. } | Pass { .. } | Sweep => {}
        }
        self
    }
}

/// A step of a history.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// One operation, so that it can be said exactly what follows from it.
    One(Operation),
    /// An agent that does as it should: asks, acknowledges, renews.
    Take { agent: usize },
    /// Several at once, in whatever order the service does them.
    Together(Vec<Operation>),
    /// The service ends, and another begins on the same directory.
    Restart,
}

fn agent() -> impl Strategy<Value = usize> {
    0_usize..3
}

fn job() -> impl Strategy<Value = usize> {
    0_usize..8
}

fn offer() -> impl Strategy<Value = Offer> {
    prop::array::uniform3(prop::option::weighted(0.75, 1_u8..=2)).prop_map(Offer)
}

fn demands() -> impl Strategy<Value = Demands> {
    let want = prop_oneof![
        Just(Want::Anything),
        (1_u8..=2).prop_map(Want::Exactly),
        (1_u8..=2).prop_map(Want::AtLeast),
    ];
    // Most demands are few, or nobody would ever get a job.
    prop::array::uniform3(prop::option::weighted(0.25, want)).prop_map(Demands)
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    prop_oneof![
        2 => (offer(), prop::bool::weighted(0.3)).prop_map(|(offer, single_use)| Register { offer, single_use }),
        2 => (agent(), offer()).prop_map(|(agent, offer)| Change { agent, offer }),
        3 => (agent(), prop::bool::weighted(0.7)).prop_map(|(agent, enabled)| Enable { agent, enabled }),
        1 => agent().prop_map(|agent| ReplaceKey { agent }),
        1 => agent().prop_map(|agent| Delete { agent }),
        6 => agent().prop_map(|agent| Open { agent }),
        1 => agent().prop_map(|agent| Close { agent }),
        6 => (agent(), any::<bool>()).prop_map(|(agent, again)| Poll { agent, again }),
        5 => agent().prop_map(|agent| Acknowledge { agent }),
        4 => agent().prop_map(|agent| Renew { agent }),
        1 => (agent(), job()).prop_map(|(agent, job)| RenewAny { agent, job }),
        4 => (agent(), prop::bool::weighted(0.3)).prop_map(|(agent, leaving)| Finish { agent, leaving }),
        8 => (demands(), select(vec![0, 1, 60])).prop_map(|(demands, minutes)| Queue { demands, minutes }),
        1 => job().prop_map(|job| End { job }),
        2 => job().prop_map(|job| Cancel { job }),
        4 => select(vec![1, 30, 70, 240, 299, 300, 360, 600, 660]).prop_map(|seconds| Pass { seconds }),
        1 => Just(Sweep),
    ]
}

/// A history of a pool: some agents come, and then anything happens.
pub(crate) fn history() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => operation().prop_map(Step::One),
        8 => agent().prop_map(|agent| Step::Take { agent }),
        4 => prop::collection::vec(operation(), 2..5).prop_map(Step::Together),
        1 => Just(Step::Restart),
    ];
    let come = prop::collection::vec((offer(), prop::bool::weighted(0.3)), 1..4);
    (come, prop::collection::vec(step, 1..60)).prop_map(|(come, steps)| {
        let come = come.into_iter().enumerate();
        let come = come.flat_map(|(agent, (offer, single_use))| {
            let register = Operation::Register { offer, single_use };
            [register, Operation::Open { agent }].map(Step::One)
        });
        come.chain(steps).collect()
    })
}
