"""Drives the pool service with the Python client of Azure DevOps. What it needs comes on standard input."""

import io
import json
import sys
import time
import uuid

from azure.devops._models import VssJsonCollectionWrapper
from azure.devops.connection import Connection
from azure.devops.exceptions import AzureDevOpsServiceError
from azure.devops.v7_1.build.models import Build, BuildDefinition, BuildRepository
from azure.devops.v7_1.task.models import TaskLog, Timeline
from azure.devops.v7_1.task_agent.models import (
    TaskAgent,
    TaskAgentAuthorization,
    TaskAgentPool,
    TaskAgentPublicKey,
)
from msrest.authentication import BasicAuthentication

given = json.load(sys.stdin)
PROJECT = "demo"


def connect(password):
    return Connection(base_url=given["url"], creds=BasicAuthentication("", password))


def same(what, found, wanted):
    assert found == wanted, f"{what}: {found!r} is not {wanted!r}"


def refused(what, call, type_key):
    try:
        call()
    except AzureDevOpsServiceError as error:
        same(what, error.type_key, type_key)
        assert error.message, what
        return
    raise AssertionError(f"{what} was not refused")


def until(what, check):
    deadline = time.monotonic() + 20
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.05)


def projects(core):
    found = core.get_projects()
    same("projects", [project.name for project in found], [PROJECT])
    project = core.get_project(PROJECT)
    same("project by name", project.id, found[0].id)
    same("project by id", core.get_project(project.id).name, PROJECT)
    same("state", project.state, "wellFormed")
    refused("no such project", lambda: core.get_project("nothing"), "ProjectDoesNotExistWithNameException")


def pools_and_agents(agents):
    (linux,) = agents.get_agent_pools(pool_name="Linux")
    same("pool by name", (linux.name, linux.is_hosted, linux.pool_type), ("linux", False, "automation"))
    same("no pool", agents.get_agent_pools(pool_name="lin"), [])
    made = agents.add_agent_pool(TaskAgentPool(name="from python"))
    same("made pool", agents.get_agent_pool(made.id).name, "from python")
    same("pools by ids", [pool.id for pool in agents.get_agent_pools_by_ids([made.id])], [made.id])

    draft = TaskAgent(
        name="placeholder",
        version="4.260.0",
        max_parallelism=1,
        authorization=TaskAgentAuthorization(
            public_key=TaskAgentPublicKey(exponent="AQAB", modulus=given["modulus"])
        ),
        system_capabilities={"Agent.Name": "placeholder"},
    )
    agent = agents.add_agent(draft, made.id)
    assert agent.authorization.client_id and agent.authorization.authorization_url
    refused("the same name", lambda: agents.add_agent(draft, made.id), "TaskAgentExistsException")
    changed = agents.update_agent(TaskAgent(id=agent.id, enabled=False), made.id, agent.id)
    same("disabled", changed.enabled, False)
    read = agents.get_agent(made.id, agent.id, include_capabilities=True)
    same("capabilities", read.system_capabilities["Agent.Name"], "placeholder")
    same("status", (read.status, read.provisioning_state), ("offline", "Provisioned"))
    same("agent by name", len(agents.get_agents(made.id, agent_name="Placeholder")), 1)
    changed = agents.update_agent_pool(TaskAgentPool(name="renamed", auto_provision=True), made.id)
    same("a changed pool", (changed.name, changed.auto_provision), ("renamed", True))
    refused("a pool with an agent", lambda: agents.delete_agent_pool(made.id), "ArgumentException")
    agents.delete_agent(made.id, agent.id)
    refused("a deleted agent", lambda: agents.get_agent(made.id, agent.id), "TaskAgentNotFoundException")
    agents.delete_agent_pool(made.id)
    refused("a deleted pool", lambda: agents.get_agent_pool(made.id), "TaskAgentPoolNotFoundException")
    agents.add_agent_pool(TaskAgentPool(name="from python"))
    same("pools to use", len(agents.get_agent_pools(action_filter="use")), 2)
    (online,) = agents.get_agents(linux.id, agent_name="worker", include_assigned_request=True)
    same("its request", online.assigned_request.owner.id, given["running"])
    same("an agent with a session", online.status, "online")
    return linux


def queues(agents, linux):
    by_name = agents.get_agent_queues(project=PROJECT, queue_name="linux")
    same("queue", [(queue.name, queue.pool.id) for queue in by_name], [("linux", linux.id)])
    queue = by_name[0]
    same("queue by id", agents.get_agent_queue(queue.id, project=PROJECT).name, "linux")
    names = agents.get_agent_queues_by_names(["linux", "from python"], project=PROJECT)
    same("queues by names", {queue.name for queue in names}, {"linux", "from python"})
    same("queues by ids", len(agents.get_agent_queues_by_ids([queue.id], project=PROJECT)), 1)
    pools = agents.get_agent_queues_for_pools([linux.id], project=PROJECT)
    same("queues of pools", [queue.pool.name for queue in pools], ["linux"])


def definitions(builds):
    draft = BuildDefinition(
        name="from python",
        type="build",
        process={"type": 2, "yamlFilename": "/ci/python.yml"},
        repository=BuildRepository(name="app", type="TfsGit"),
    )
    made = builds.create_definition(draft, PROJECT)
    same("file", made.process["yamlFilename"], "ci/python.yml")
    same("repository", (made.repository.name, made.repository.type), ("app", "TfsGit"))
    made.name = "renamed by python"
    changed = builds.update_definition(made, PROJECT, made.id)
    same("revision", changed.revision, made.revision + 1)
    refused("an old revision", lambda: builds.update_definition(made, PROJECT, made.id), "ArgumentException")
    read = builds.get_definition(PROJECT, made.id)
    same("renamed", (read.name, read.queue_status, read.path), ("renamed by python", "enabled", "\\"))
    same("by name", [each.id for each in builds.get_definitions(PROJECT, name="renamed*")], [made.id])
    same("by file", [each.id for each in builds.get_definitions(PROJECT, yaml_filename="ci/python.yml")], [made.id])
    refused("no definition", lambda: builds.get_definition(PROJECT, 99999), "DefinitionNotFoundException")


def finished_build(builds):
    finished = builds.get_build(PROJECT, given["finished"])
    same("status", (finished.status, finished.result, finished.reason), ("completed", "succeeded", "manual"))
    same("branch", finished.source_branch, "refs/heads/main")
    same("commit", len(finished.source_version), 40)
    same("repository", (finished.repository.type, finished.repository.name), ("TfsGit", "app"))
    assert finished.queue_time <= finished.start_time <= finished.finish_time
    same("queue", finished.queue.pool.name, "linux")
    same("definition", finished.definition.name, "nightly")

    timeline = builds.get_build_timeline(PROJECT, finished.id)
    kinds = sorted(record.type for record in timeline.records)
    same("records", kinds, ["Job", "Phase", "Stage", "Task"])
    records = {record.type: record for record in timeline.records}
    same("tree", records["Task"].parent_id, records["Job"].id)
    same("tree", records["Job"].parent_id, records["Phase"].id)
    same("tree", records["Phase"].parent_id, records["Stage"].id)
    for record in timeline.records:
        same(record.type, (record.state, record.result), ("completed", "succeeded"))
    again = builds.get_build_timeline(PROJECT, finished.id, timeline_id=timeline.id, change_id=timeline.change_id)
    same("nothing new", again.records, [])

    (log,) = builds.get_build_logs(PROJECT, finished.id)
    same("log", (log.id, log.line_count, log.type), (records["Task"].log.id, 3, "Container"))
    text = b"".join(builds.get_build_log(PROJECT, finished.id, log.id)).decode()
    same("text", text, "one\ntwo\nthree\n")
    same("lines", builds.get_build_log_lines(PROJECT, finished.id, log.id), ["one", "two", "three"])
    part = builds.get_build_log_lines(PROJECT, finished.id, log.id, start_line=2, end_line=2)
    same("part", part, ["two"])


def lists_of_builds(builds):
    ids = lambda **filters: [build.id for build in builds.get_builds(PROJECT, **filters)]
    both = [given["running"], given["finished"]]
    same("all", ids(), both)
    same("oldest first", ids(query_order="queueTimeAscending"), both[::-1])
    same("ended last first", ids(query_order="finishTimeDescending", status_filter="completed"), both[1:])
    same("one", ids(top=1), both[:1])
    same("unfinished", ids(status_filter="inProgress,notStarted"), both[:1])
    same("succeeded", ids(result_filter="succeeded"), both[1:])
    same("of a pipeline", ids(definitions=[builds.get_build(PROJECT, both[1]).definition.id]), both[1:])
    same("of a branch", ids(branch_name="refs/heads/main"), both[1:])
    same("of a reason", ids(reason_filter="schedule"), [])
    same("by ids", ids(build_ids=[both[1]]), both[1:])
    queued = builds.get_build(PROJECT, both[0]).queue_time
    same("since", ids(min_time=queued), both[:1])


def cancel_and_delete(builds):
    running = given["running"]
    same("running", builds.get_build(PROJECT, running).status, "inProgress")
    refused("deleting a running build", lambda: builds.delete_build(PROJECT, running), "ArgumentException")
    cancelled = builds.update_build(Build(status="cancelling"), PROJECT, running)
    assert cancelled.status in ("cancelling", "completed"), cancelled.status
    ended = until("the end of the build", lambda: ended_build(builds, running))
    same("cancelled", ended.result, "canceled")
    builds.update_build(Build(keep_forever=True), PROJECT, running)
    same("kept", builds.get_build(PROJECT, running).keep_forever, True)
    builds.delete_build(PROJECT, running)
    refused("a deleted build", lambda: builds.get_build(PROJECT, running), "BuildNotFoundException")


def ended_build(builds, id):
    build = builds.get_build(PROJECT, id)
    return build if build.status == "completed" else None


def work(tasks):
    """What a job reports, with the job's own token."""
    job = given["job"]
    where = (job["project"], "build", job["plan"])
    log = tasks.create_log(TaskLog(path="logs\\python"), *where)
    for text in (b"one\ntwo\n", b"three\n"):
        log = tasks.append_log_content(io.BytesIO(text), *where, log.id)
    same("lines of the log", log.line_count, 3)
    same("the log", tasks.get_log(*where, log.id, start_line=2, end_line=3), ["two", "three"])
    assert log.id in [each.id for each in tasks.get_logs(*where)]

    step = str(uuid.uuid4())
    record = {"id": step, "parentId": job["id"], "type": "Task", "name": "by python", "state": "inProgress", "log": {"id": log.id}}
    (made,) = tasks.update_records(VssJsonCollectionWrapper(count=1, value=[record]), *where, job["timeline"])
    same("a new record", (made.name, made.state, made.log.id), ("by python", "inProgress", log.id))
    patch = {"id": step, "state": "completed", "result": "succeededWithIssues"}
    (changed,) = tasks.update_records(VssJsonCollectionWrapper(count=1, value=[patch]), *where, job["timeline"])
    same("a changed record", (changed.name, changed.result), ("by python", "succeededWithIssues"))
    changes = tasks.get_records(*where, job["timeline"], change_id=made.change_id)
    same("what changed since", [each.id for each in changes], [step])
    read = tasks.get_timeline(*where, job["timeline"], include_records=True)
    assert step in [each.id for each in read.records]

    details = tasks.create_timeline(Timeline(id=str(uuid.uuid4())), *where)
    assert details.id in [each.id for each in tasks.get_timelines(*where)]
    refused("a second timeline of an id", lambda: tasks.create_timeline(Timeline(id=details.id), *where), "TimelineExistsException")

    place = (*where, job["timeline"], step, "DistributedTask.Core.Summary", "Summary.md")
    attached = tasks.create_attachment(io.BytesIO(b"# All is well"), *place)
    same("the attachment", (attached.name, attached.type), ("Summary.md", "DistributedTask.Core.Summary"))
    same("its content", b"".join(tasks.get_attachment_content(*place)), b"# All is well")
    same("attachments of the record", [each.name for each in tasks.get_attachments(*place[:-1])], ["Summary.md"])
    same("attachments of the plan", len(tasks.get_plan_attachments(*where, "DistributedTask.Core.Summary")), 1)

    token = tasks.create_oidc_token({}, *where, job["id"], None)
    same("an identity token", token.oidc_token.count("."), 2)
    other = str(uuid.uuid4())
    refused("another plan", lambda: tasks.get_logs(job["project"], "build", other), "TaskOrchestrationPlanSecurityException")


def wrong_password():
    refused("a wrong token", lambda: connect("wrong").clients_v7_1.get_core_client().get_projects(), "UnauthorizedRequestException")


clients = connect(given["pat"]).clients_v7_1
projects(clients.get_core_client())
linux = pools_and_agents(clients.get_task_agent_client())
queues(clients.get_task_agent_client(), linux)
definitions(clients.get_build_client())
finished_build(clients.get_build_client())
lists_of_builds(clients.get_build_client())
work(connect(given["job"]["token"]).clients_v7_1.get_task_client())
cancel_and_delete(clients.get_build_client())
wrong_password()
print("done")
