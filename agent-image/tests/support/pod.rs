//! A job container without a cluster: the step host as process 1 of namespaces of its own, which sees its part of the
//! volumes and nothing else of the agent's.

use super::{AGENT_USER, AgentProcesses, World, agent_program, give_away, logged, started};
use dayfly_wire::identity::ClaimedIdentity;
use std::path::PathBuf;
use std::process::Command;

/// Mounts what the job container mounts, hides what only the agent does, and becomes the step host.
const ENTER: &str = r#"
set -e
own=$1 view=$2 program=$3 user=$4
mount --bind "$own/volume/work" "$view/work"
mount --bind "$own/scripts" "$view/scripts"
for closed in volume/tasks socket; do
  mount --bind "$own/$closed" "$view/${closed#volume/}"
  mount -o remount,bind,ro "$view/${closed#volume/}"
done
mount -t tmpfs -o mode=000 none "$own"
export HOME=$view/work/home
exec setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
  "$program" step-host --socket "$view/socket/s.sock" --work "$view/work" --scripts "$view/scripts" --tasks "$view/tasks"
"#;

impl World {
    /// Starts an agent, and its step host in a container. Needs root, as namespaces do.
    pub fn agent_in_pod(&self, identity: &ClaimedIdentity) -> AgentProcesses {
        let name = &identity.agent_name;
        let directory = self.agent_directory(name);
        for part in ["volume/tasks", "socket"] {
            std::fs::create_dir_all(directory.join(part)).unwrap();
        }
        let file = directory.join("identity.json");
        std::fs::write(&file, serde_json::to_vec(identity).unwrap()).unwrap();
        give_away(&directory);
        let view = self.view(name);
        for part in ["work", "scripts", "tasks", "socket"] {
            std::fs::create_dir_all(view.join(part)).unwrap();
        }
        let mut listen = Command::new(agent_program());
        listen
            .arg("listen")
            .arg("--identity-file")
            .arg(&file)
            .arg("--socket")
            .arg(directory.join("socket/s.sock"))
            .arg("--work")
            .arg(directory.join("volume"))
            .arg("--pages")
            .arg(directory.join("pages"));
        let agent = logged(&mut listen, &directory.join("agent.log"));
        let mut container = Command::new("unshare");
        container
            .args(["--mount", "--pid", "--ipc", "--fork", "--kill-child"])
            .args(["--mount-proc", "--", "bash", "-c", ENTER, "enter"])
            .args([&directory, &view])
            .arg(agent_program())
            .arg(AGENT_USER.to_string());
        let step_host = started(&mut container, &directory.join("step-host.log"));
        AgentProcesses {
            name: name.clone(),
            directory,
            agent,
            step_host,
        }
    }

    /// Where the job container of an agent sees its volumes.
    pub fn view(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}-sees"))
    }
}
