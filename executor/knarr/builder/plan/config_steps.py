"""The instructions that change nothing but the image config."""

from knarr.builder.plan.state import StageState
from knarr.dockerfile.language.exposed import parse_ports
from knarr.dockerfile.language.history import (
    arg_created_by,
    command_created_by,
    created_by,
    expose_created_by,
)
from knarr.dockerfile.language.instructions import (
    Arg,
    Cmd,
    Command,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Shell,
    Stopsignal,
    User,
    Volume,
)
from knarr.dockerfile.language.signals import check_signal
from knarr.errors import DockerfileError

DEFAULT_SHELL = ("/bin/sh", "-c")


def step_arg(stage: StageState, arg: Arg) -> None:
    """ARG: names for the rest of the stage."""
    known = len(stage.scope.args)
    around = stage.around
    stage.scope = stage.scope.declare_arg(
        arg, build_args=around.build_args, global_args=around.global_args, escape=around.escape
    )
    stage.record(arg_created_by(stage.scope.args[known:]))


def step_env(stage: StageState, env: Env) -> None:
    """ENV."""
    env = stage.substitute(env)
    stage.scope = stage.scope.set_env((pair.key, pair.value) for pair in env.pairs)
    stage.config = stage.config.with_env(stage.scope.image_env)
    stage.record(created_by(env))


def step_label(stage: StageState, label: Label) -> None:
    """LABEL."""
    label = stage.substitute(label)
    pairs = [(pair.key, pair.value) for pair in label.pairs]
    stage.config = stage.config.with_labels(pairs)
    stage.record(created_by(label))


def step_cmd(stage: StageState, cmd: Cmd) -> None:
    """CMD."""
    argv = _argv(stage, cmd.command)
    stage.configure(Cmd=list(argv) or None, ArgsEscaped=True)
    stage.has_cmd = True
    stage.record(command_created_by("CMD", argv))


def step_entrypoint(stage: StageState, entrypoint: Entrypoint) -> None:
    """ENTRYPOINT: what the base says of CMD no longer fits."""
    argv = _argv(stage, entrypoint.command)
    stage.configure(Entrypoint=list(argv) or None)
    if not stage.has_cmd:
        stage.configure(Cmd=None)
    stage.record(command_created_by("ENTRYPOINT", argv))


def step_expose(stage: StageState, expose: Expose) -> None:
    """EXPOSE."""
    ports = parse_ports(stage.substitute(expose).ports)
    exposed = {**(stage.config.run.get("ExposedPorts") or {}), **{port: {} for port in ports}}
    stage.configure(ExposedPorts=dict(sorted(exposed.items())) or None)
    stage.record(expose_created_by(ports))


def step_healthcheck(stage: StageState, check: Healthcheck) -> None:
    """HEALTHCHECK; durations are nanoseconds in the config."""
    numbers = {
        "Interval": check.interval_ns,
        "Timeout": check.timeout_ns,
        "StartPeriod": check.start_period_ns,
        "StartInterval": check.start_interval_ns,
        "Retries": check.retries,
    }
    given = {name: number for name, number in numbers.items() if number}
    stage.configure(Healthcheck={"Test": list(check.test), **given})
    stage.record(created_by(check))


def step_maintainer(stage: StageState, maintainer: Maintainer) -> None:
    """MAINTAINER: the image's author."""
    stage.config = stage.config.with_property("author", maintainer.author)
    stage.record(created_by(maintainer))


def step_onbuild(stage: StageState, onbuild: Onbuild) -> None:
    """ONBUILD: kept for the builds on this image, not run here; BuildKit gives it no history entry."""
    stage.configure(OnBuild=[*stage.config.onbuild, onbuild.trigger])


def step_shell(stage: StageState, shell: Shell) -> None:
    """SHELL: for the shell forms from here on."""
    stage.configure(Shell=list(shell.shell))
    stage.record(created_by(shell))


def step_stopsignal(stage: StageState, stopsignal: Stopsignal) -> None:
    """STOPSIGNAL."""
    stopsignal = stage.substitute(stopsignal)
    check_signal(stopsignal.signal)
    stage.configure(StopSignal=stopsignal.signal)
    stage.record(created_by(stopsignal))


def step_user(stage: StageState, user: User) -> None:
    """USER: kept as it is written; looked up when a step needs it. An empty one is none: root."""
    user = stage.substitute(user)
    stage.configure(User=user.user or None)
    stage.record(created_by(user))


def step_volume(stage: StageState, volume: Volume) -> None:
    """VOLUME: metadata alone; later changes below the path are kept, as BuildKit does."""
    volume = stage.substitute(volume)
    if not all(volume.paths):
        raise DockerfileError("VOLUME specified can not be an empty string")
    volumes = {**(stage.config.run.get("Volumes") or {}), **{path: {} for path in volume.paths}}
    stage.configure(Volumes=volumes)
    stage.record(created_by(volume))


def shell_of(stage: StageState) -> tuple[str, ...]:
    """The shell of shell forms."""
    return stage.config.shell or DEFAULT_SHELL


def _argv(stage: StageState, command: Command) -> tuple[str, ...]:
    """The exec form as it is, the shell form given to SHELL."""
    return command if isinstance(command, tuple) else (*shell_of(stage), command)
