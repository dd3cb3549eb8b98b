//! One job from its first record to its last call.

use super::cache::Restored;
use super::containers;
use super::finish;
use super::listener::Listener;
use super::place::WorkVolume;
use super::plan::{self, Kind, Parts, Planned};
use super::proxy;
use super::record::RecordWriter;
use super::report::sender::{Destination, Reporter, Sending};
use super::result::{merge, merge_into_job, status_word};
use super::rows::Rows;
use super::secrets::Unmasked;
use super::step::{self, StepRow};
use super::steps::checkout;
use super::steps::node::Node;
use super::system_variables::{TASK_VARIABLES, system_variables, task_variables};
use super::tasks::TaskVariables;
use super::tasks::fetch::fetch;
use super::variables::Variables;
use crate::control::Facts;
use crate::host::link::Link;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RecordId;
use dayfly_wire::job::{JobMessage, Step, builtin};
use dayfly_wire::timeline::{JOB, Record, RecordState, TASK};
use std::collections::HashMap;
use std::sync::Arc;

/// Everything that steps share.
pub(crate) struct Job {
    pub(crate) facts: Facts,
    /// The message, without its steps.
    pub(crate) message: JobMessage,
    pub(crate) link: Link,
    pub(crate) listener: Listener,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) variables: Variables,
    pub(crate) volume: WorkVolume,
    /// Where the service is, with the job's token.
    pub(crate) destination: Destination,
    /// The variables of each step's task.
    pub(crate) task_variables: HashMap<RecordId, TaskVariables>,
    /// The job image's node, once a task needed it.
    pub(crate) node: Option<Node>,
    /// How often steps changed a service connection.
    pub(crate) endpoint_changes: usize,
    /// Directories that steps put before `PATH`, the latest last.
    pub(crate) prepend_path: Vec<String>,
    /// The result so far.
    pub(crate) result: Option<TaskResult>,
    /// Why the step host is gone, once it is.
    pub(crate) lost: Option<String>,
    /// How many checkout steps there are, and how many ran.
    pub(crate) checkouts: usize,
    pub(crate) checked_out: usize,
    /// Files on the memory volume by which later steps authenticate.
    pub(crate) kept_credentials: Vec<String>,
    /// What cache steps restored.
    pub(crate) caches: HashMap<RecordId, Restored>,
    /// The job's own record.
    pub(crate) record: RecordWriter,
}

impl Job {
    pub(crate) fn new(
        facts: Facts,
        message: JobMessage,
        link: Link,
        listener: Listener,
        reporter: Arc<Reporter>,
        mut variables: Variables,
        volume: WorkVolume,
        destination: Destination,
    ) -> Self {
        let architecture = crate::listen::architecture();
        for (name, value) in system_variables(&facts, &message, architecture) {
            variables.set_system(&name, &value);
        }
        if let Some(proxy) = &facts.proxy {
            for (name, value) in proxy::variables(proxy) {
                variables.set_system(name, &value);
            }
            if let Some(password) = &proxy.password {
                variables.set_system_secret(proxy::PASSWORD, password);
            }
        }
        let debug = variables.flag("system.debug");
        let record = RecordWriter::new(RecordId(message.job_id.0), Arc::clone(&reporter), debug);
        Self {
            facts,
            message,
            link,
            listener,
            reporter,
            variables,
            volume,
            destination,
            task_variables: HashMap::new(),
            node: None,
            endpoint_changes: 0,
            prepend_path: Vec::new(),
            result: None,
            lost: None,
            checkouts: 0,
            checked_out: 0,
            kept_credentials: Vec::new(),
            caches: HashMap::new(),
            record,
        }
    }

    /// Runs all steps and reports the end; `None` when the end could not be reported.
    pub(crate) async fn run(mut self, unmasked: Unmasked, sending: Sending) -> Option<TaskResult> {
        let steps = std::mem::take(&mut self.message.steps);
        self.begin();
        self.refresh_variables();
        let mut rows = self.publish_rows(&steps);
        match self.initialize(&rows.initialize, steps, &unmasked).await {
            Some(parts) => {
                self.publish_parts(&mut rows, &parts);
                self.run_all(parts.pre, &rows.pre).await;
                self.run_all(parts.main, &rows.main).await;
                self.note_cancellation();
                finish::post_job(&mut self, parts.post, &rows.post).await;
            }
            None => {
                self.skip(&rows.main);
                self.skip(&rows.post);
            }
        }
        finish::finalize(&mut self, &rows.finalize).await;
        finish::report(self, sending).await
    }

    async fn run_all(&mut self, parts: Vec<Planned>, rows: &[StepRow]) {
        for part in parts {
            let is_its = |row: &&StepRow| row.step == Some(part.step.id);
            if let Some(row) = rows.iter().find(is_its) {
                self.note_cancellation();
                step::run(self, part, row).await;
            }
        }
    }

    fn begin(&self) {
        self.record.begin();
        self.record.update(Record {
            kind: Some(JOB.to_owned()),
            name: Some(self.message.job_display_name.clone()),
            ref_name: Some(self.message.job_name.clone()),
            worker_name: Some(self.facts.agent_name.clone()),
            ..Record::default()
        });
        self.record
            .section(&format!("Starting: {}", self.message.job_display_name));
    }

    /// Every record of the job, pending, so that a person sees at once what is to come.
    fn publish_rows(&mut self, steps: &[Step]) -> Rows {
        let named: Vec<(&Step, String)> = steps
            .iter()
            .filter(|step| step.enabled)
            .map(|step| (step, self.step_name(step)))
            .collect();
        let is_checkout = |step: &Step| step.reference.id.0 == builtin::CHECKOUT;
        self.checkouts = named.iter().filter(|(step, _)| is_checkout(step)).count();
        let rows = Rows::new(&named);
        for (row, order) in rows.all().zip(1..) {
            self.publish(row, order);
        }
        rows
    }

    /// Tasks were fetched, so it is known now what they do before and after the steps.
    fn publish_parts(&self, rows: &mut Rows, parts: &Parts) {
        let known: Vec<RecordId> = rows.all().map(|row| row.id).collect();
        rows.complete(parts);
        for (row, order) in rows.all().zip(1..) {
            if known.contains(&row.id) {
                let change = Record {
                    id: row.id,
                    order: Some(order),
                    ..Record::default()
                };
                self.reporter.outbox(|outbox| outbox.update(change));
            } else {
                self.publish(row, order);
            }
        }
        for row in &rows.main {
            if !parts.main.iter().any(|part| part.step.id == row.id) {
                let reason = "The task runs before or after the steps only.".to_owned();
                self.writer(row.id)
                    .complete(TaskResult::Skipped, Some(reason));
            }
        }
    }

    fn step_name(&self, step: &Step) -> String {
        let name = plan::display_name(step);
        let name = if step.reference.id.0 == builtin::CHECKOUT {
            checkout::display_name(self, step, &name)
        } else {
            name
        };
        self.variables.substitute(&name).text.expose().to_owned()
    }

    fn publish(&self, row: &StepRow, order: i64) {
        let change = Record {
            id: row.id,
            parent_id: Some(RecordId(self.message.job_id.0)),
            kind: Some(TASK.to_owned()),
            name: Some(row.name.clone()),
            ref_name: row.ref_name.clone(),
            task: row.task.clone(),
            order: Some(order),
            state: Some(RecordState::Pending),
            worker_name: Some(self.facts.agent_name.clone()),
            ..Record::default()
        };
        self.reporter.outbox(|outbox| outbox.update(change));
    }

    /// A writer of a record.
    pub(crate) fn writer(&self, id: RecordId) -> RecordWriter {
        let debug = self.variables.flag("system.debug");
        RecordWriter::new(id, Arc::clone(&self.reporter), debug)
    }

    /// Plans the steps and fetches their tasks; `None` fails the job.
    async fn initialize(
        &mut self,
        row: &StepRow,
        steps: Vec<Step>,
        unmasked: &Unmasked,
    ) -> Option<Parts> {
        let mut record = self.writer(row.id);
        record.begin();
        record.section("Starting: Initialize job");
        record.write(&format!("Agent name: '{}'", self.facts.agent_name));
        record.write(&format!(
            "Agent machine name: '{}'",
            self.facts.machine_name
        ));
        record.write(&format!(
            "Current agent version: '{}'",
            self.facts.agent_version
        ));
        record.write(concat!("Dayfly agent: ", env!("CARGO_PKG_VERSION")));
        warn_unmasked(&mut record, unmasked);
        record.write("Prepare build directory.");
        record.write("Set build variables.");
        let served = self.check_container(&steps, &mut record);
        let parts = match served.and_then(|()| plan::plan(steps).map_err(|error| error.to_string()))
        {
            Ok(mut planned) => match self.fetch_tasks(&mut planned, &mut record).await {
                Ok(()) => plan::parts(planned).map_err(|error| error.to_string()),
                Err(problem) => Err(problem),
            },
            Err(problem) => Err(problem),
        };
        let result = match &parts {
            Ok(_) => TaskResult::Succeeded,
            Err(problem) => {
                record.error(problem);
                self.result = Some(TaskResult::Failed);
                self.note_cancellation();
                TaskResult::Failed
            }
        };
        record.section("Finishing: Initialize job");
        record.complete(result, None);
        parts.ok()
    }

    /// Whether the job runs in the container that it asks for.
    fn check_container(&self, steps: &[Step], record: &mut RecordWriter) -> Result<(), String> {
        let own = self.facts.job_image.as_deref();
        let ignored = containers::check(&self.message, steps, &self.variables, own)?;
        if let Some(ignored) = ignored {
            record.warning(&format!(
                "Of the container '{}' the image counts alone; not looked at are {}.",
                ignored.container,
                ignored.settings.join(", ")
            ));
        }
        Ok(())
    }

    /// Every task once, whatever number of steps run it.
    async fn fetch_tasks(
        &self,
        planned: &mut [Planned],
        record: &mut RecordWriter,
    ) -> Result<(), String> {
        let mut tasks = HashMap::new();
        for step in planned.iter_mut().filter(|step| step.kind == Kind::Task) {
            let reference = &step.step.reference;
            let key = (reference.id, reference.version.clone());
            if !tasks.contains_key(&key) {
                let label = format!("{} ({})", reference.name, reference.version);
                record.write(&format!("Downloading task: {label}"));
                let task = fetch(self, record, reference)
                    .await
                    .map_err(|error| format!("The task {label} {error}."))?;
                tasks.insert(key.clone(), Arc::new(task));
            }
            step.task = tasks.get(&key).cloned();
        }
        Ok(())
    }

    /// A job that cannot run shows its steps as skipped.
    fn skip(&self, rows: &[StepRow]) {
        for row in rows {
            self.writer(row.id).complete(TaskResult::Skipped, None);
        }
    }

    /// Expands variables again, and masks what became secret by it.
    pub(crate) fn refresh_variables(&mut self) {
        let status = status_word(self.result);
        self.variables.set_system("agent.jobstatus", status);
        for name in self.variables.expand() {
            self.record.write(&format!(
                "##[warning]Unable to expand variable '{name}': it names itself, or too many others."
            ));
        }
        self.reporter
            .outbox(|outbox| outbox.add_secrets(self.variables.secrets()));
    }

    /// Sets the variables that tell of the step that runs.
    pub(crate) fn begin_task_variables(&mut self, planned: &Planned, name: &str) {
        for (variable, value) in task_variables(&planned.step, name) {
            self.variables.set_system(variable, &value);
        }
    }

    /// They are gone when the step has ended.
    pub(crate) fn end_task_variables(&mut self) {
        for variable in TASK_VARIABLES {
            self.variables.remove(variable);
        }
    }

    /// A canceled job stays canceled, whatever its steps did.
    pub(crate) fn note_cancellation(&mut self) {
        if self.listener.canceled().is_cancelled() {
            self.result = Some(merge(self.result, TaskResult::Canceled));
        }
    }

    /// Adds a step's result.
    pub(crate) fn add_result(&mut self, step: TaskResult) {
        self.result = merge_into_job(self.result, step);
    }

    /// The step host is gone: finds out why, once, and fails the job.
    pub(crate) async fn step_host_lost(&mut self) -> String {
        if let Some(reason) = &self.lost {
            return reason.clone();
        }
        let why = self.listener.why_step_host_lost().await;
        let reason = match why {
            Some(why) => format!("The job container ended while the job was running: {why}."),
            None => "The job container ended while the job was running; the reason is not known."
                .to_owned(),
        };
        self.record.error(&reason);
        self.result = Some(merge(self.result, TaskResult::Failed));
        self.lost = Some(reason.clone());
        reason
    }
}

fn warn_unmasked(record: &mut RecordWriter, unmasked: &Unmasked) {
    for name in &unmasked.short {
        record.warning(&format!(
            "The secret variable '{name}' is shorter than {} characters and is not masked in the logs.",
            super::mask::MINIMUM_LENGTH
        ));
    }
    if unmasked.expressions > 0 {
        record.warning(&format!(
            "{} mask expressions of the service are not understood and not applied: at most 100 are, and none that looks around.",
            unmasked.expressions
        ));
    }
}
