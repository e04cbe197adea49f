"""A user's script against one engine, with docker-py: images, containers, networks, volumes, exec,
logs, events, stats. DOCKER_HOST names the engine, IMAGE an image that it has, REGISTRY a registry
that it may push to. Each step says its name; the first that is not as Docker does it ends the run.
"""

import io
import json
import os
import tarfile
import threading
import time

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound
from docker.types import (
    EndpointConfig,
    Healthcheck,
    IPAMConfig,
    IPAMPool,
    LogConfig,
    Mount,
    Ulimit,
)

IMAGE = os.environ["IMAGE"]
REGISTRY = os.environ["REGISTRY"]
client = docker.from_env(version="auto", timeout=60)
STEPS = []


def step(function):
    STEPS.append(function)
    return function


def refused(status, text, call, *args, **kwargs):
    """The call must fail with this status and text."""
    try:
        call(*args, **kwargs)
    except APIError as error:
        assert error.status_code == status, (error.status_code, error.explanation)
        assert text in str(error.explanation), error.explanation
        return
    raise AssertionError(f"not refused: {text}")


def sleeper(**options):
    return client.containers.run(IMAGE, ["sleep", "1000"], detach=True, **options)


def files(stream):
    """Members of a tar stream by name."""
    tar = tarfile.open(fileobj=io.BytesIO(b"".join(stream)))
    return {member.name: member for member in tar.getmembers()}, tar


@step
def the_daemon_answers():
    assert client.ping()
    version = client.version()
    assert version["Os"] == "linux" and version["Components"][0]["Name"] == "Engine"
    info = client.info()
    assert info["Driver"] == "overlay2" and "fluentd" in info["Plugins"]["Log"]
    assert info["Swarm"]["LocalNodeState"] == "inactive"


@step
def old_and_new_versions_of_the_api_work():
    for version in ("1.24", "1.30", "1.40", "1.44", client.api.api_version):
        api = docker.APIClient(os.environ["DOCKER_HOST"], version=version, timeout=60)
        assert isinstance(api.containers(all=True), list)
        assert isinstance(api.images(), list)
        assert isinstance(api.networks(), list)
        assert "Volumes" in api.volumes()
        if version != "1.24":
            assert api.df()["Images"] is not None
    answer = client.api.get(client.api.base_url + "/v1.10/version")
    assert answer.status_code == 400 and "client version 1.10 is too old" in answer.text, answer.text


@step
def a_command_gives_its_output():
    assert client.containers.run(IMAGE, ["echo", "hello"], remove=True) == b"hello\n"
    try:
        client.containers.run(IMAGE, ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
        raise AssertionError("a failure went unseen")
    except ContainerError as error:
        assert error.exit_status == 3 and b"bad" in error.stderr
    try:
        client.containers.run("nowhere.invalid/none", "true")
        raise AssertionError("an image that is nowhere")
    except (ImageNotFound, APIError):
        pass


@step
def options_reach_the_process():
    output = client.containers.run(
        IMAGE,
        ["sh", "-c", "echo $A; hostname; id -u; pwd; ulimit -n; cat /proc/sys/net/ipv4/ip_forward; cat /etc/hosts"],
        environment={"A": "b c"},
        hostname="somewhere",
        user="65534",
        working_dir="/tmp",
        ulimits=[Ulimit(name="nofile", soft=512, hard=512)],
        sysctls={"net.ipv4.ip_forward": "1"},
        extra_hosts={"other": "10.1.2.3"},
        remove=True,
    ).decode().splitlines()
    assert output[:6] == ["b c", "somewhere", "65534", "/tmp", "512", "1"], output
    assert any(line.split() == ["10.1.2.3", "other"] for line in output), output


@step
def containers_are_listed_by_every_filter():
    one = sleeper(name="lister", labels={"tier": "web", "app": "x"}, ports={"80/tcp": None})
    two = client.containers.run(IMAGE, ["sh", "-c", "exit 7"], detach=True, name="lister-done")
    assert two.wait()["StatusCode"] == 7

    def names(**filters):
        return sorted(c.name for c in client.containers.list(all=True, filters=filters))

    assert names(name="lister") == ["lister", "lister-done"]
    assert names(label="tier=web") == ["lister"] and names(label="tier") == ["lister"]
    assert names(status="exited", name="lister") == ["lister-done"]
    assert names(exited=7) == ["lister-done"]
    assert names(ancestor=IMAGE, name="lister") == ["lister", "lister-done"]
    assert names(id=one.id) == ["lister"]
    assert names(since="lister") == ["lister-done"] and "lister" in names(before="lister-done")
    assert names(network="bridge", name="lister-done") == ["lister-done"]
    assert names(publish="80/tcp", name="lister") in (["lister"], [])
    assert names(expose="80/tcp") == ["lister"]
    assert names(health="none", name="lister") == ["lister", "lister-done"]
    refused(400, "invalid filter", client.containers.list, filters={"colour": "red"})
    row = client.api.containers(all=True, size=True, filters={"name": "lister-done"})[0]
    assert row["SizeRootFs"] > 0 and row["State"] == "exited" and row["Names"] == ["/lister-done"]
    assert len(client.containers.list(limit=1)) == 1
    for container in (one, two):
        container.remove(force=True)


@step
def a_container_lives_its_life():
    container = client.containers.create(IMAGE, ["sleep", "1000"], name="life")
    assert container.status == "created"
    container.start()
    container.reload()
    assert container.status == "running" and container.attrs["State"]["Pid"] > 0
    container.pause()
    container.reload()
    assert container.status == "paused"
    refused(409, "is paused", container.exec_run, "true")
    container.unpause()
    container.rename("life2")
    container.reload()
    assert container.name == "life2"
    container.restart(timeout=0)
    container.reload()
    assert container.status == "running"
    refused(409, "container is running", container.remove)
    container.kill("SIGKILL")
    assert container.wait()["StatusCode"] == 137
    refused(409, "is not running", container.kill)
    container.start()
    container.stop(timeout=0)
    titles = client.containers.get("life2").attrs["State"]["Status"]
    assert titles == "exited"
    container.remove()
    refused(404, "No such container: life2", client.containers.get, "life2")


@step
def limits_are_set_and_changed_while_it_runs():
    container = sleeper(
        mem_limit="64m",
        memswap_limit="64m",
        cpu_shares=512,
        nano_cpus=500_000_000,
        pids_limit=50,
        blkio_weight=300 if os.path.exists("/sys/fs/cgroup/blkio/blkio.weight") else None,
    )
    host = container.attrs["HostConfig"] if container.attrs else {}
    container.reload()
    host = container.attrs["HostConfig"]
    assert host["Memory"] == 64 << 20 and host["PidsLimit"] == 50 and host["NanoCpus"] == 500_000_000
    container.update(mem_limit="96m", memswap_limit="128m", cpu_shares=256, restart_policy={"Name": "on-failure", "MaximumRetryCount": 2})
    container.reload()
    host = container.attrs["HostConfig"]
    assert host["Memory"] == 96 << 20 and host["CpuShares"] == 256
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    stats = container.stats(stream=False)
    assert stats["memory_stats"]["limit"] == 96 << 20, stats["memory_stats"]
    refused(400, "Minimum memory limit allowed is 6MB", container.update, mem_limit="1m")
    container.remove(force=True)


@step
def statistics_come_once_and_as_a_stream():
    container = sleeper()
    once = container.stats(stream=False)
    assert once["cpu_stats"]["system_cpu_usage"] > once["precpu_stats"]["system_cpu_usage"] > 0
    assert once["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert once["pids_stats"]["current"] == 1 and once["memory_stats"]["usage"] > 0
    assert once["networks"]["eth0"]["rx_bytes"] >= 0
    assert once["name"] == "/" + container.name and once["id"] == container.id
    shot = client.api.stats(container.id, stream=False, one_shot=True)
    assert shot["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    stream = container.stats(stream=True, decode=True)
    first, second = next(stream), next(stream)
    assert second["preread"] == first["read"]
    container.remove(force=True)


@step
def commands_are_executed_in_it():
    container = sleeper()
    code, output = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
    assert code == 4 and output == (b"out\n", b"err\n"), (code, output)
    code, output = container.exec_run("sh -c 'echo $X; pwd; id -u'", environment={"X": "y"}, workdir="/tmp", user="65534")
    assert output == b"y\n/tmp\n65534\n", output
    _, stream = container.exec_run(["sh", "-c", "echo a; sleep 0.1; echo b"], stream=True)
    assert b"".join(stream) == b"a\nb\n"
    code, output = container.exec_run(["sh", "-c", "test -t 1 && echo tty"], tty=True)
    assert output.strip() == b"tty"
    made = client.api.exec_create(container.id, ["sleep", "1000"], tty=True)["Id"]
    client.api.exec_start(made, detach=True, tty=True)
    client.api.exec_resize(made, height=30, width=90)
    found = client.api.exec_inspect(made)
    assert found["Running"] and found["ProcessConfig"]["entrypoint"] == "sleep" and found["ExitCode"] is None
    assert found["ContainerID"] == container.id and found["Pid"] > 0
    code, output = container.exec_run("no-such-program")
    assert code == 127 and b"executable file not found" in output, (code, output)
    socket = container.exec_run(["cat"], stdin=True, socket=True).output
    socket._sock.sendall(b"ping\n")
    assert socket.read(13)[8:] == b"ping\n"
    socket.close()
    container.remove(force=True)
    refused(404, "No such exec instance", client.api.exec_inspect, "0" * 64)


@step
def input_and_output_are_attached():
    container = client.containers.create(IMAGE, ["cat"], stdin_open=True)
    socket = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    socket._sock.sendall(b"over\n")
    assert socket.read(13)[8:] == b"over\n"
    socket._sock.shutdown(1)
    assert container.wait(timeout=20)["StatusCode"] == 0
    socket.close()
    container.remove()
    container = client.containers.create(IMAGE, ["sh", "-c", "read x; echo got $x; stty size 2>/dev/null"], stdin_open=True, tty=True)
    container.start()
    container.resize(40, 100)
    socket = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1, "logs": 1})
    socket._sock.sendall(b"it\n")
    container.wait(timeout=20)
    assert b"got it" in container.logs()
    socket.close()
    container.remove()


@step
def logs_are_cut_and_followed():
    script = "for i in 1 2 3 4 5; do echo line $i; done; echo oops >&2"
    container = client.containers.run(IMAGE, ["sh", "-c", script], detach=True)
    container.wait()
    assert container.logs(stderr=False).decode().splitlines() == [f"line {i}" for i in range(1, 6)]
    assert container.logs(stdout=False) == b"oops\n"
    assert container.logs(tail=2, stderr=False).decode().splitlines()[-1] == "line 5"
    assert len(container.logs(tail=2).splitlines()) == 2
    stamped = container.logs(timestamps=True, stderr=False).decode().splitlines()[0]
    assert stamped.split()[0].endswith("Z") and stamped.endswith("line 1")
    assert container.logs(since=int(time.time()) + 100) == b""
    assert container.logs(until=1) == b""
    container.remove()
    container = client.containers.run(IMAGE, ["sh", "-c", "echo a; sleep 0.3; echo b"], detach=True)
    assert b"".join(container.logs(stream=True, follow=True)) == b"a\nb\n"
    container.remove()


@step
def log_drivers_are_chosen_and_read_back():
    for driver, options in (
        ("local", {"max-size": "1m", "max-file": "2", "compress": "true"}),
        ("json-file", {"max-size": "1m", "max-file": "2", "labels": "a", "tag": "{{.Name}}"}),
    ):
        config = LogConfig(type=driver, config=options)
        container = client.containers.run(IMAGE, ["echo", driver], detach=True, log_config=config, labels={"a": "b"})
        container.wait()
        assert container.logs() == driver.encode() + b"\n"
        container.remove()
    silent = client.containers.run(IMAGE, ["echo", "x"], detach=True, log_config=LogConfig(type="none"))
    silent.wait()
    refused(501, "configured logging driver does not support reading", silent.logs)
    silent.remove()
    pigeon = LogConfig(type="pigeon")
    refused(400, "plugin \"pigeon\" not found", client.containers.create, IMAGE, log_config=pigeon)
    odd = LogConfig(type="json-file", config={"colour": "red"})
    refused(400, "unknown log opt 'colour' for json-file log driver", client.containers.create, IMAGE, log_config=odd)


@step
def files_go_in_and_out():
    container = sleeper()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("in/file")
        entry.size, entry.mode, entry.uid, entry.gid, entry.mtime = 5, 0o640, 1000, 1001, 1_000_000_000
        tar.addfile(entry, io.BytesIO(b"hello"))
        link = tarfile.TarInfo("in/link")
        link.type, link.linkname = tarfile.SYMTYPE, "file"
        tar.addfile(link)
    assert container.put_archive("/tmp", buffer.getvalue())
    assert container.exec_run(["cat", "/tmp/in/link"]).output == b"hello"
    stream, stat = container.get_archive("/tmp/in/file")
    members, tar = files(stream)
    assert stat["name"] == "file" and stat["size"] == 5 and stat["mode"] & 0o777 == 0o640
    assert members["file"].mode & 0o7777 == 0o640 and tar.extractfile("file").read() == b"hello"
    _, stat = container.get_archive("/tmp/in/link")
    assert stat["linkTarget"] == "/tmp/in/file"
    refused(404, "Could not find the file /nope in container", container.get_archive, "/nope")
    refused(404, "", container.put_archive, "/nope", buffer.getvalue())
    kinds = {entry["Path"]: entry["Kind"] for entry in container.diff()}
    assert kinds["/tmp"] == 0 and kinds["/tmp/in/file"] == 1, kinds
    members, _ = files(container.export())
    assert "tmp/in/file" in members and "bin/busybox" in members
    container.remove(force=True)


@step
def a_container_becomes_an_image():
    container = client.containers.run(IMAGE, ["sh", "-c", "echo made > /made"], detach=True)
    container.wait()
    image = container.commit(
        repository="committed", tag="1", author="me", message="why",
        changes=["ENV A=b", 'CMD ["cat", "/made"]', "LABEL x=y", "EXPOSE 80"],
    )
    assert "committed:1" in image.tags and image.attrs["Author"] == "me"
    assert image.attrs["Config"]["Env"][-1] == "A=b" and image.labels["x"] == "y"
    assert client.containers.run("committed:1", remove=True) == b"made\n"
    history = image.history()
    assert history[0]["Comment"] == "why" and history[0]["Tags"] == ["committed:1"]
    container.remove()
    client.images.remove("committed:1")


@step
def images_are_tagged_saved_loaded_and_removed():
    image = client.images.get(IMAGE)
    assert image.tag("other/name", "v1") and image.tag("other/name", "v2")
    image.reload()
    assert {"other/name:v1", "other/name:v2"} <= set(image.tags)
    assert [i.id for i in client.images.list("other/name")] == [image.id]
    assert client.images.list(filters={"reference": "other/*:v1"})
    assert not client.images.list(filters={"dangling": True})
    url = client.api._url("/images/get")
    both = {"names": ["other/name:v1", "other/name:v2"]}
    archive = client.api._get(url, params=both, stream=True).content
    names = set(tarfile.open(fileobj=io.BytesIO(archive)).getnames())
    assert {"manifest.json", "index.json", "oci-layout"} <= names, names
    client.images.remove("other/name:v1")
    client.images.remove("other/name:v2")
    loaded = client.images.load(archive)
    assert loaded[0].id == image.id
    for tag in ("v1", "v2"):
        client.images.remove(f"other/name:{tag}")
    refused(404, "No such image: other/name:v1", client.images.get, "other/name:v1")
    refused(400, "invalid reference format", image.tag, "Bad Name")
    container = sleeper()
    refused(409, "is using its referenced image", client.images.remove, IMAGE)
    container.remove(force=True)


@step
def images_travel_through_a_registry():
    name = f"{REGISTRY}/team/app"
    client.images.get(IMAGE).tag(name, "1.0")
    lines = list(client.images.push(name, tag="1.0", stream=True, decode=True))
    assert not [line for line in lines if "error" in line], lines
    digest = [line["aux"]["Digest"] for line in lines if "aux" in line][0]
    client.images.remove(f"{name}:1.0")
    pinned = client.images.get_registry_data(f"{name}:1.0")
    assert pinned.id == digest and pinned.attrs["Descriptor"]["digest"] == digest
    pulled = client.images.pull(name, tag="1.0")
    assert f"{name}@{digest}" in pulled.attrs["RepoDigests"]
    assert client.images.pull(f"{name}@{digest}").id == pulled.id
    refused(404, "", client.images.pull, name, tag="none-such")
    for left in pulled.tags + pulled.attrs["RepoDigests"]:
        if left.startswith(REGISTRY):
            client.images.remove(left)
    client.images.get(IMAGE)


@step
def unused_images_are_pruned_by_filter():
    container = client.containers.run(IMAGE, ["sh", "-c", "echo 1 > /1"], detach=True)
    container.wait()
    kept = container.commit(changes=["LABEL keep=yes"])
    gone = container.commit(changes=["LABEL keep=no"])
    container.remove()
    pruned = client.images.prune(filters={"dangling": True, "label": "keep=no"})
    deleted = {item.get("Deleted") for item in pruned["ImagesDeleted"] or []}
    assert gone.id in deleted and kept.id not in deleted, pruned
    assert client.images.prune(filters={"until": "1h"})["ImagesDeleted"] is None
    client.images.remove(kept.id)


@step
def volumes_keep_what_is_written():
    volume = client.volumes.create("data", labels={"tier": "db"})
    assert volume.attrs["Scope"] == "local" and volume.attrs["Mountpoint"].endswith("/data/_data")
    client.containers.run(IMAGE, ["sh", "-c", "echo kept > /v/file"], volumes={"data": {"bind": "/v", "mode": "rw"}}, remove=True)
    read = client.containers.run(IMAGE, ["cat", "/v/file"], mounts=[Mount("/v", "data", read_only=True)], remove=True)
    assert read == b"kept\n"
    assert [v.name for v in client.volumes.list(filters={"label": "tier=db"})] == ["data"]
    assert "data" in [v.name for v in client.volumes.list(filters={"dangling": True})]
    holder = sleeper(volumes=["data:/v"])
    refused(409, "volume is in use", volume.remove)
    assert "data" not in [v.name for v in client.volumes.list(filters={"dangling": True})]
    holder.remove(force=True)
    anonymous = sleeper(volumes=["/anonymous"])
    anonymous.remove(force=True)
    pruned = client.volumes.prune()["VolumesDeleted"]
    assert len(pruned) == 1 and "data" not in pruned
    assert "data" in client.volumes.prune(filters={"all": True})["VolumesDeleted"]
    tmpfs = client.volumes.create("memory", driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=1m"})
    output = client.containers.run(IMAGE, ["grep", " /m ", "/proc/mounts"], volumes=["memory:/m"], remove=True)
    assert b"tmpfs" in output and b"size=1024k" in output, output
    tmpfs.remove()
    refused(400, "invalid option", client.volumes.create, "odd", driver_opts={"colour": "red"})
    refused(404, "no such volume", client.volumes.get, "data")


@step
def mounts_are_of_every_kind():
    output = client.containers.run(
        IMAGE,
        ["sh", "-c", "cat /etc/issue-host; grep ' /scratch ' /proc/mounts; ls /image/bin/busybox; touch /bound/new || echo read-only"],
        mounts=[
            Mount("/etc/issue-host", "/etc/hostname", type="bind", read_only=True),
            Mount("/scratch", None, type="tmpfs", tmpfs_size=1 << 20, tmpfs_mode=0o700),
            {"Type": "image", "Source": IMAGE, "Target": "/image"},
            Mount("/bound", "/usr", type="bind", read_only=True),
        ],
        remove=True,
    ).decode()
    assert "mode=700" in output and "/image/bin/busybox" in output, output
    donor = sleeper(volumes=["/shared"])
    donor.exec_run(["sh", "-c", "echo theirs > /shared/file"])
    assert client.containers.run(IMAGE, ["cat", "/shared/file"], volumes_from=[donor.name], remove=True) == b"theirs\n"
    donor.remove(force=True, v=True)
    refused(400, "bind source path does not exist", client.containers.create, IMAGE, mounts=[Mount("/x", "/no/such/dir", type="bind")])


@step
def networks_connect_containers_by_name():
    pool = IPAMPool(subnet="10.123.0.0/24", gateway="10.123.0.1", iprange="10.123.0.128/25", aux_addresses={"printer": "10.123.0.128"})
    network = client.networks.create("lan", driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels={"a": "b"}, options={"com.docker.network.driver.mtu": "1400"})
    refused(409, "network with name lan already exists", client.networks.create, "lan")
    refused(403, "Pool overlaps", client.networks.create, "lan2", ipam=IPAMConfig(pool_configs=[IPAMPool(subnet="10.123.0.0/16")]))
    config = {"lan": client.api.create_endpoint_config(ipv4_address="10.123.0.5", aliases=["database"])}
    server = sleeper(name="server", network="lan", networking_config=config)
    other = sleeper(name="asker", network="lan")
    other.reload()
    address = other.attrs["NetworkSettings"]["Networks"]["lan"]["IPAddress"]
    assert address == "10.123.0.129", address
    for name in ("server", "database"):
        code, output = other.exec_run(["ping", "-c", "1", "-w", "5", name])
        assert code == 0 and b"10.123.0.5" in output, output
    assert b"mtu 1400" in other.exec_run(["ip", "link", "show", "eth0"]).output
    refused(403, "has active endpoints", network.remove)
    network.disconnect(server)
    server.reload()
    assert "lan" not in server.attrs["NetworkSettings"]["Networks"]
    network.connect(server, ipv4_address="10.123.0.7", aliases=["again"])
    code, output = other.exec_run(["ping", "-c", "1", "-w", "5", "again"])
    assert code == 0 and b"10.123.0.7" in output, output
    network.reload()
    assert {c.name for c in network.containers} == {"server", "asker"}
    found = client.networks.list(filters={"label": "a=b", "driver": "bridge", "type": "custom"})
    assert [n.name for n in found] == ["lan"]
    for container in (server, other):
        container.remove(force=True)
    assert client.networks.prune(filters={"label": "a=b"})["NetworksDeleted"] == ["lan"]
    refused(404, "network lan not found", client.networks.get, "lan")
    refused(403, "pre-defined network", client.networks.get("bridge").remove)


@step
def several_networks_at_once():
    for name in ("front", "back"):
        client.networks.create(name)
    config = {name: EndpointConfig(client.api.api_version) for name in ("front", "back")}
    container = client.containers.run(IMAGE, ["sleep", "1000"], detach=True, network="front", networking_config=config)
    container.reload()
    assert set(container.attrs["NetworkSettings"]["Networks"]) == {"front", "back"}
    assert b"eth1" in container.exec_run(["ip", "addr"]).output
    container.remove(force=True)
    for name in ("front", "back"):
        client.networks.get(name).remove()


@step
def links_and_namespaces_are_shared():
    database = sleeper(name="db", environment={"KIND": "sql"}, ports={"5432/tcp": None})
    script = "echo $DB_ENV_KIND $DB_NAME; grep db /etc/hosts; ping -c 1 -w 5 db | head -1"
    output = client.containers.run(IMAGE, ["sh", "-c", script], name="web", links={"db": "db"}, remove=True).decode()
    assert output.startswith("sql /web/db"), output
    same = client.containers.run(IMAGE, ["sh", "-c", "hostname; ps"], network_mode="container:db", pid_mode="container:db", remove=True)
    assert b"sleep 1000" in same, same
    database.remove(force=True)


@step
def health_is_checked():
    check = Healthcheck(test=["CMD-SHELL", "test -e /tmp/ok"], interval=50_000_000, timeout=5_000_000_000, retries=2)
    container = sleeper(healthcheck=check, name="patient")
    events = client.events(decode=True, filters={"container": "patient", "event": "health_status"})
    container.exec_run(["touch", "/tmp/ok"])
    deadline = time.time() + 20
    while container.attrs.get("State", {}).get("Health", {}).get("Status") != "healthy":
        assert time.time() < deadline, container.attrs["State"]
        container.reload()
    assert [c.name for c in client.containers.list(filters={"health": "healthy"})] == ["patient"]
    events.close()
    container.remove(force=True)


@step
def processes_are_listed():
    container = sleeper()
    top = container.top()
    assert top["Titles"][:2] == ["UID", "PID"] and "sleep 1000" in top["Processes"][0][-1]
    assert container.top(ps_args="-o pid,comm")["Titles"] == ["PID", "COMMAND"]
    container.remove(force=True)


@step
def events_tell_what_happened():
    since = int(time.time()) - 1
    seen = []
    stream = client.events(decode=True, filters={"type": "container", "label": "watched"})
    reader = threading.Thread(target=lambda: seen.extend(event["Action"] for event in stream), daemon=True)
    reader.start()
    container = client.containers.run(IMAGE, ["true"], detach=True, labels={"watched": "yes"})
    container.wait()
    container.remove()
    deadline = time.time() + 10
    while "destroy" not in seen and time.time() < deadline:
        time.sleep(0.02)
    stream.close()
    assert seen == ["create", "start", "die", "destroy"], seen
    past = list(client.events(decode=True, since=since, until=int(time.time()) + 1, filters={"label": "watched"}))
    assert [e["Action"] for e in past] == seen
    die = [e for e in past if e["Action"] == "die"][0]
    assert die["Actor"]["Attributes"]["exitCode"] == "0" and die["status"] == "die" and die["scope"] == "local"
    assert die["timeNano"] // 10**9 == die["time"]


@step
def a_restart_policy_restarts():
    container = client.containers.run(IMAGE, ["false"], detach=True, restart_policy={"Name": "on-failure", "MaximumRetryCount": 2})
    deadline = time.time() + 20
    while not (container.status == "exited" and container.attrs["RestartCount"] == 2):
        assert time.time() < deadline, container.attrs["State"]
        container.reload()
    container.remove()
    refused(400, "invalid restart policy", client.containers.create, IMAGE, restart_policy={"Name": "sometimes"})


@step
def disk_usage_is_counted():
    container = client.containers.run(IMAGE, ["sh", "-c", "dd if=/dev/zero of=/big bs=1024 count=64 2>/dev/null"], detach=True)
    container.wait()
    usage = client.df()
    rows = {row["Id"]: row for row in usage["Containers"]}
    assert rows[container.id]["SizeRw"] >= 65536
    assert usage["LayersSize"] > 0 and usage["Volumes"] is not None and usage["BuildCache"] is not None
    container.remove()


@step
def everything_unused_is_pruned():
    done = client.containers.run(IMAGE, ["true"], detach=True, labels={"prune": "me"})
    done.wait()
    pruned = client.containers.prune(filters={"label": "prune=me"})
    assert pruned["ContainersDeleted"] == [done.id] and pruned["SpaceReclaimed"] >= 0
    client.networks.create("unused")
    assert "unused" in client.networks.prune()["NetworksDeleted"]


@step
def what_skep_does_not_do_is_said():
    refused(501, "does not build images", client.api._result, client.api._post(client.api._url("/build")))
    refused(501, "plugins are not supported", client.plugins.install, "some/plugin")
    gpus = docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])
    refused(400, "could not select device driver", client.containers.create, IMAGE, device_requests=[gpus])
    refused(400, "storage-opt", client.containers.create, IMAGE, storage_opt={"size": "1G"})


@step
def a_websocket_carries_an_attach():
    # docker-py knows websockets over tcp only.
    over_tcp = docker.APIClient(base_url=os.environ["ENGINE_TCP"], version="auto", timeout=60)
    container = client.containers.create(IMAGE, ["cat"], stdin_open=True)
    container.start()
    streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
    socket = over_tcp.attach_socket(container.id, params=streams, ws=True)
    socket.settimeout(30)
    for text in ("one\n", "two\n"):
        socket.send(text)
        assert socket.recv() == text.encode(), text
    socket.close()
    container.remove(force=True)
    over_tcp.close()


def main():
    for function in STEPS:
        begun = time.time()
        print(f"{function.__name__} ...", end=" ", flush=True)
        function()
        print(f"{time.time() - begun:.2f} s", flush=True)
    left = client.containers.list(all=True)
    assert not left, left


main()
