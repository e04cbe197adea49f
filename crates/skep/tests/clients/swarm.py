"""docker-py's swarm calls against a swarm: DOCKER_HOST is a manager, the argument an image."""

import sys
import time

import docker
from docker import errors
from docker.types import (
    ConfigReference,
    EndpointSpec,
    Healthcheck,
    Mount,
    NetworkAttachmentConfig,
    Placement,
    PlacementPreference,
    Resources,
    RestartPolicy,
    RollbackConfig,
    SecretReference,
    ServiceMode,
    UpdateConfig,
)

IMAGE = sys.argv[1]
SECOND = 10**9
client = docker.from_env()


def eventually(what, ask, patience=60):
    end = time.monotonic() + patience
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{what}: {answer!r}")
        time.sleep(0.05)


def refused(status, text, call):
    try:
        call()
    except errors.APIError as error:
        assert error.status_code == status, error
        assert text in error.explanation, error.explanation
        return
    raise AssertionError(f"not refused: {text}")


def running(service, count):
    def ask():
        tasks = service.tasks(filters={"desired-state": "running"})
        up = [t for t in tasks if t["Status"]["State"] == "running"]
        return up if len(tasks) == len(up) == count else None

    return eventually(f"{count} tasks of {service.name}", ask)


def swarm():
    attrs = client.swarm.attrs
    assert client.swarm.version > 0
    assert attrs["JoinTokens"]["Worker"].startswith("SWMTKN-1-")
    assert attrs["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"] == 5
    assert client.swarm.update(task_history_retention_limit=4, rotate_worker_token=True)
    client.swarm.reload()
    assert client.swarm.attrs["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"] == 4
    assert client.swarm.attrs["JoinTokens"]["Worker"] != attrs["JoinTokens"]["Worker"]
    refused(503, "This node is already part of a swarm", lambda: client.swarm.init())
    assert client.swarm.get_unlock_key()["UnlockKey"] == ""
    info = client.info()["Swarm"]
    assert info["ControlAvailable"] and info["Nodes"] == 2 and info["Cluster"]["ID"] == client.swarm.id


def nodes():
    by_role = {node.attrs["Spec"]["Role"]: node for node in client.nodes.list()}
    assert set(by_role) == {"manager", "worker"}
    worker = by_role["worker"]
    assert [n.id for n in client.nodes.list(filters={"role": "worker"})] == [worker.id]
    spec = dict(worker.attrs["Spec"], Labels={"disk": "ssd"})
    assert worker.update(spec)
    assert client.nodes.get(worker.id).attrs["Spec"]["Labels"] == {"disk": "ssd"}
    refused(404, "node nobody not found", lambda: client.nodes.get("nobody"))


def secrets_and_configs():
    secret = client.secrets.create(name="key", data=b"hidden", labels={"a": "b"})
    config = client.configs.create(name="motd", data=b"welcome", labels={"a": "b"})
    assert client.secrets.get(secret.id).attrs["Spec"]["Labels"] == {"a": "b"}
    assert "Data" not in client.secrets.get(secret.id).attrs["Spec"]
    assert [c.name for c in client.configs.list(filters={"name": "motd"})] == ["motd"]
    refused(409, "already exists", lambda: client.secrets.create(name="key", data=b"x"))
    return secret, config


def services(secret, config):
    network = client.networks.create(
        "inner", driver="overlay", attachable=True, labels={"net": "1"}
    )
    service = client.services.create(
        IMAGE,
        command=["nginx"],
        name="py",
        env=["A=1"],
        labels={"kind": "web"},
        container_labels={"inside": "yes"},
        hostname="{{.Service.Name}}-{{.Task.Slot}}",
        networks=[NetworkAttachmentConfig("inner", aliases=["alias"])],
        endpoint_spec=EndpointSpec(ports={8081: (80, "tcp", "ingress")}),
        mode=ServiceMode("replicated", replicas=2),
        mounts=[Mount("/data", "data", type="volume")],
        secrets=[SecretReference(secret.id, "key", mode=0o400)],
        configs=[ConfigReference(config.id, "motd", filename="/motd")],
        resources=Resources(mem_limit=64 << 20, cpu_reservation=10**7),
        restart_policy=RestartPolicy("on-failure", delay=SECOND, max_attempts=3),
        update_config=UpdateConfig(parallelism=2, delay=0, order="start-first"),
        rollback_config=RollbackConfig(parallelism=1, order="stop-first"),
        healthcheck=Healthcheck(test=["CMD", "ls", "/motd"], interval=SECOND // 2),
        constraints=["node.platform.os == linux"],
        preferences=[PlacementPreference("spread", "node.labels.disk")],
        maxreplicas=2,
        stop_grace_period=2 * SECOND,
        init=True,
        cap_drop=["NET_RAW"],
    )
    tasks = running(service, 2)
    spec = service.attrs["Spec"]
    assert spec["TaskTemplate"]["ContainerSpec"]["Env"] == ["A=1"]
    assert spec["TaskTemplate"]["Placement"]["MaxReplicas"] == 2
    for task in tasks:
        assert task["Status"]["ContainerStatus"]["ContainerID"]
        names = {a["Network"]["Spec"]["Name"] for a in task["NetworksAttachments"]}
        assert names == {"ingress", "inner"}, names
    service.reload()
    ports = service.attrs["Endpoint"]["Ports"]
    assert [(p["PublishedPort"], p["TargetPort"]) for p in ports] == [(8081, 80)]
    vips = {vip["NetworkID"]: vip["Addr"] for vip in service.attrs["Endpoint"]["VirtualIPs"]}
    assert network.id in vips and len(vips) == 2
    listed = client.services.list(filters={"label": "kind=web"}, status=True)
    assert listed[0].attrs["ServiceStatus"] == {
        "RunningTasks": 2,
        "DesiredTasks": 2,
        "CompletedTasks": 0,
    }
    assert service.scale(1)
    running(service, 1)
    service.reload()
    assert service.update(env=["A=2"])
    service.reload()
    assert service.attrs["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] == ["A=2"]
    assert service.attrs["Spec"]["Labels"] == {"kind": "web"}
    eventually("the update completes", lambda: update_state(service) == "completed")
    service.reload()
    assert service.force_update()
    running(service, 1)
    logs = b"".join(service.logs(stdout=True, stderr=True, tail=10))
    assert isinstance(logs, bytes)
    refused(400, "is in use by the following service: py", lambda: secret.remove())
    refused(409, "already exists", lambda: client.services.create(IMAGE, name="py"))
    refused(
        400,
        "port '8081' is already in use by service 'py'",
        lambda: client.services.create(
            IMAGE, name="other", endpoint_spec=EndpointSpec(ports={8081: 80})
        ),
    )
    return network, service


def update_state(service):
    service.reload()
    return service.attrs.get("UpdateStatus", {}).get("State")


def everywhere():
    service = client.services.create(
        IMAGE, command=["sleep", "1000"], name="all", mode=ServiceMode("global")
    )
    running(service, 2)
    assert service.remove()
    job = client.services.create(
        IMAGE,
        command=["true"],
        name="job",
        mode=ServiceMode("replicated-job", concurrency=1, replicas=2),
        restart_policy=RestartPolicy("none"),
    )
    eventually(
        "the job completes",
        lambda: len([t for t in job.tasks() if t["Status"]["State"] == "complete"]) == 2,
    )
    assert job.remove()


def attached(network):
    """A container outside of services finds the service on an attachable network."""
    container = client.containers.run(
        IMAGE, ["sleep", "1000"], network="inner", detach=True, name="guest"
    )
    code, out = container.exec_run("wget -q -O- http://alias/")
    assert code == 0 and b"nginx" in out, out
    network.reload()
    assert "guest" in [c["Name"] for c in network.attrs["Containers"].values()]
    container.remove(force=True)


def main():
    swarm()
    nodes()
    secret, config = secrets_and_configs()
    network, service = services(secret, config)
    attached(network)
    everywhere()
    assert service.remove()
    refused(404, "service py not found", lambda: client.services.get("py"))
    eventually("the network is free", lambda: removed(network))
    assert secret.remove() and config.remove()
    print("docker-py is content")


def removed(network):
    try:
        network.remove()
        return True
    except errors.APIError:
        return False


main()
