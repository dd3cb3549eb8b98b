//! The planner over random histories: a small world of jobs, agents and pods in which anything may happen next.

use super::*;
use std::collections::VecDeque;

const TEMPLATES: [&str; 2] = ["default", "java"];

/// What happens between two plans.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// A job is queued, for either template.
    Queue(bool),
    /// A job that nobody can run.
    QueueUnmatched,
    /// So many seconds pass.
    Pass(u16),
    /// The pods that start come up.
    ComeUp,
    /// One of the pods that start fails.
    FailStart,
    /// The service gives waiting jobs to idle agents.
    Assign,
    /// One busy agent finishes.
    Finish,
    /// One busy agent is lost.
    Lose,
    /// The credential is refused, or accepted again.
    Credential(bool),
    /// The service removes a reserved registration.
    Clean,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => any::<bool>().prop_map(Happening::Queue),
        1 => Just(Happening::QueueUnmatched),
        3 => (1..400_u16).prop_map(Happening::Pass),
        4 => Just(Happening::ComeUp),
        1 => Just(Happening::FailStart),
        4 => Just(Happening::Assign),
        3 => Just(Happening::Finish),
        1 => Just(Happening::Lose),
        1 => any::<bool>().prop_map(Happening::Credential),
        1 => Just(Happening::Clean),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Reserved,
    Starting,
    Idle(i64),
    Draining(i64),
    Busy(i64),
}

struct Agent {
    template: usize,
    at: At,
    since: i64,
}

struct World {
    pool: ValidPool,
    now: i64,
    next: i64,
    agents: BTreeMap<i64, Agent>,
    queue: VecDeque<Request>,
    writable: bool,
    surplus_since: BTreeMap<String, Timestamp>,
    done: usize,
    queued: usize,
}

impl World {
    fn new(min_idle: i32, max_agents: i32, java_most: i32) -> Self {
        let templates = json!([
            { "name": TEMPLATES[0] },
            { "name": TEMPLATES[1], "capabilities": { "java": "21" }, "maxAgents": java_most },
        ]);
        Self {
            pool: pool(
                json!({ "minIdle": min_idle, "maxAgents": max_agents }),
                templates,
            ),
            now: NOW,
            next: 1,
            agents: BTreeMap::new(),
            queue: VecDeque::new(),
            writable: true,
            surplus_since: BTreeMap::new(),
            done: 0,
            queued: 0,
        }
    }

    fn time(&self, second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn number(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    fn queue(&mut self, demand: Option<&str>) {
        let id = self.number();
        let request = Request {
            queued: Some(self.time(self.now)),
            demands: demand.map(str::to_owned).into_iter().collect(),
            ..waiting(id)
        };
        self.queue.push_back(request);
        self.queued += 1;
    }

    fn first(&self, which: impl Fn(&Agent) -> bool) -> Option<i64> {
        let mut all = self.agents.iter();
        all.find(|(_, agent)| which(agent))
            .map(|(number, _)| *number)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Queue(java) => self.queue(java.then_some("java")),
            Happening::QueueUnmatched => self.queue(Some("gpu")),
            Happening::Pass(seconds) => self.now += i64::from(seconds),
            Happening::ComeUp => {
                let now = self.now;
                let mut all = self.agents.values_mut();
                all.by_ref()
                    .filter(|agent| agent.at == At::Starting)
                    .for_each(|agent| agent.at = At::Idle(now));
            }
            Happening::FailStart => {
                let failed = self.first(|agent| agent.at == At::Starting);
                failed.map(|number| self.agents.remove(&number));
            }
            Happening::Assign => self.assign(),
            Happening::Finish => {
                if let Some(number) = self.first(|agent| matches!(agent.at, At::Busy(_))) {
                    self.agents.remove(&number);
                    self.done += 1;
                }
            }
            Happening::Lose => {
                // Its job is failed by the operator; the planner's part of that has its own tests.
                if let Some(number) = self.first(|agent| matches!(agent.at, At::Busy(_))) {
                    self.agents.remove(&number);
                    self.done += 1;
                }
            }
            Happening::Credential(accepted) => self.writable = accepted,
            Happening::Clean => {
                let cleaned = self.first(|agent| agent.at == At::Reserved);
                cleaned.map(|number| self.agents.remove(&number));
            }
        }
    }

    /// The service gives a job to any enabled idle agent that satisfies its demands, whoever it was started for.
    fn assign(&mut self) {
        let mut left = VecDeque::new();
        while let Some(request) = self.queue.pop_front() {
            let claims = |template: usize| {
                request.demands.is_empty() || (template == 1 && request.demands == ["java"])
            };
            let idle =
                self.first(|agent| matches!(agent.at, At::Idle(_)) && claims(agent.template));
            match idle.and_then(|number| self.agents.get_mut(&number)) {
                Some(agent) => agent.at = At::Busy(request.id.0),
                None => left.push_back(request),
            }
        }
        self.queue = left;
    }

    fn identity(&self, number: i64, agent: &Agent) -> Identity {
        let mut identity = match agent.at {
            At::Reserved => reserved(&self.pool, number),
            At::Starting => starting(&self.pool, number),
            At::Idle(since) => idle(&self.pool, number, NOW - since),
            At::Draining(since) => {
                let mut identity = idle(&self.pool, number, NOW - since);
                identity.known.as_mut().unwrap().disabled = Some(self.time(since));
                identity
            }
            At::Busy(request) => busy(&self.pool, number, request),
        };
        let template = &self.pool.templates[agent.template];
        let enabled = !matches!(agent.at, At::Draining(_));
        if let Presence::Present(registration) = &mut identity.registration {
            registration.template.clone_from(&template.name);
            registration.hash.clone_from(&template.identity_hash);
            registration.enabled = enabled;
        }
        if let Some(secret) = &mut identity.secret {
            secret.template.clone_from(&template.name);
            secret.hash.clone_from(&template.identity_hash);
        }
        if let Some(pod) = &mut identity.pod {
            pod.template.clone_from(&template.name);
            pod.hash.clone_from(&template.pod_hash);
            pod.created = Some(self.time(agent.since));
        }
        identity.snapshot = Some(self.time(self.now));
        identity
    }

    fn observed(&self) -> Observed {
        let identities = self
            .agents
            .iter()
            .map(|(number, agent)| self.identity(*number, agent))
            .collect();
        Observed {
            writable: self.writable,
            surplus_since: self.surplus_since.clone(),
            ..observed(identities, self.queue.iter().cloned().collect())
        }
    }

    /// Plans, holds the plan against what must always be, and carries it out.
    fn round(&mut self) -> Result<Plan, TestCaseError> {
        let now = self.time(self.now);
        let plan = plan(&self.pool, &self.observed(), now);
        self.check(&plan)?;
        for start in &plan.start {
            let now = self.now;
            let agent = self.agents.get_mut(&number_of(&start.identity)).unwrap();
            prop_assert_eq!(agent.at, At::Reserved);
            prop_assert_eq!(agent.template, start.template);
            (agent.at, agent.since) = (At::Starting, now);
        }
        for (template, count) in &plan.register {
            for _ in 0..*count {
                let (number, since) = (self.number(), self.now);
                let agent = Agent {
                    template: *template,
                    at: At::Reserved,
                    since,
                };
                self.agents.insert(number, agent);
            }
        }
        for name in &plan.drain {
            let now = self.now;
            self.agents.get_mut(&number_of(name)).unwrap().at = At::Draining(now);
        }
        for retire in &plan.retire {
            self.agents.remove(&number_of(&retire.identity));
        }
        for (template, surplus) in self.pool.templates.iter().zip(&plan.surplus) {
            if *surplus {
                self.surplus_since
                    .entry(template.name.clone())
                    .or_insert(now);
            } else {
                self.surplus_since.remove(&template.name);
            }
        }
        Ok(plan)
    }

    fn check(&self, plan: &Plan) -> Result<(), TestCaseError> {
        let live = |which: &dyn Fn(&Agent) -> bool| {
            let live = |agent: &&Agent| agent.at != At::Reserved && which(agent);
            self.agents.values().filter(live).count()
        };
        let most = self.pool.max_agents;
        prop_assert!(
            live(&|_| true) + plan.start.len() <= most,
            "more than maxAgents"
        );
        let java = plan
            .start
            .iter()
            .filter(|start| start.template == 1)
            .count();
        let java_most = self.pool.templates[1].own_max.unwrap();
        prop_assert!(
            live(&|agent| agent.template == 1) + java <= java_most,
            "more than the template's maxAgents"
        );
        let touched = plan.retire.iter().map(|retire| &retire.identity);
        for name in touched.chain(&plan.drain) {
            let agent = &self.agents[&number_of(name)];
            prop_assert!(!matches!(agent.at, At::Busy(_)), "{} is busy", name);
        }
        let started: BTreeSet<_> = plan.start.iter().map(|start| &start.identity).collect();
        prop_assert_eq!(started.len(), plan.start.len(), "nobody starts twice");
        let told: BTreeSet<_> = plan.waiting.iter().map(|waiting| waiting.request).collect();
        prop_assert_eq!(told.len(), plan.waiting.len(), "one template a request");
        prop_assert_eq!(
            told.len(),
            self.queue.len(),
            "every waiting job has a reason"
        );
        prop_assert!(self.writable || plan.register.is_empty());
        Ok(())
    }

    /// All goes well from now on, and no new jobs come.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        self.writable = true;
        for _ in 0..120 {
            self.round()?;
            self.happen(Happening::ComeUp);
            self.round()?;
            self.happen(Happening::Assign);
            self.round()?;
            while self
                .first(|agent| matches!(agent.at, At::Busy(_)))
                .is_some()
            {
                self.happen(Happening::Finish);
            }
            self.happen(Happening::Pass(60));
        }
        Ok(())
    }
}

fn number_of(name: &str) -> i64 {
    name.trim_start_matches("linux-").parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever happened before: limits hold all the time, no busy agent is touched, and once all goes well every job
    /// that can run has run, the idle agents are those that were asked for, and nothing changes any more.
    #[test]
    fn every_history_ends_with_all_jobs_done_and_the_numbers_that_were_asked_for(
        min_idle in 0..4_i32,
        max_agents in 4..9_i32,
        java_most in 1..5_i32,
        history in prop::collection::vec(happening(), 0..60),
    ) {
        let mut world = World::new(min_idle, max_agents, java_most);
        for happening in history {
            world.happen(happening);
            world.round()?;
        }
        world.settle()?;
        let unmatched = world.queue.iter().filter(|request| request.demands == ["gpu"]).count();
        prop_assert_eq!(world.queue.len(), unmatched, "jobs wait that could run");
        prop_assert_eq!(world.done + unmatched, world.queued);
        let idle = |template: usize| {
            let agents = world.agents.values();
            agents.filter(|agent| matches!(agent.at, At::Idle(_)) && agent.template == template).count()
        };
        prop_assert_eq!((idle(0), idle(1)), (min_idle as usize, 0));
        let last = world.round()?;
        prop_assert!(last.start.is_empty() && last.retire.is_empty() && last.drain.is_empty());
        prop_assert!(last.register.is_empty());
    }
}
