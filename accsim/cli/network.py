"""Questions to a network of chips: traffic, collectives, goodput."""

from __future__ import annotations

from typing import Annotated

import typer

from accsim.cli.options import Json
from accsim.errors import InputError, Problem
from accsim.report.terminal import console, progress, write_json

Topology = Annotated[
    str, typer.Option(metavar="SPEC", help="torus:4x4x8, fat_tree:16x16x32?taper=2, file:net.csv; see topologies.")
]
Size = Annotated[str, typer.Option("--bytes", metavar="SIZE", help="With a unit: 1 MiB.")]

network = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Ask a network of chips: how long traffic takes, and how much of the machine does useful work.",
)


@network.command("all_to_all", short_help="Every chip sends to every other.")
def all_to_all(
    topology: Topology,
    twisted: Annotated[bool, typer.Option("--twisted", help="Twist the torus as on TPU v4.")] = False,
    size: Size = "1 MiB",
    routing: Annotated[
        str, typer.Option(help="minimal, dimension_order?ties=shortest, valiant or optimal.")
    ] = "minimal",
    contention: Annotated[
        str, typer.Option(help="folded, links, flows, chunks, or auto: folded where that is exact, else links.")
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Every chip sends so many bytes to every other: time, load of the links, what binds."""
    from accsim.network import read_topology
    from accsim.report.network import all_to_all_dict, print_all_to_all
    from accsim.units import parse_quantity

    found = read_topology(topology + ("&" if "?" in topology else "?") + "twisted=true" if twisted else topology)
    count = int(parse_quantity(size, "bytes"))
    with progress():
        plain = all_to_all_dict(found, found.all_to_all(count, routing=routing, contention=contention), count)
    if as_json:
        write_json(plain)
    else:
        print_all_to_all(console(), plain)


@network.command("collective", short_help="A collective by its fastest algorithm.")
def collective(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="all_reduce, reduce_scatter, all_gather, broadcast, all_to_all or permute."
        ),
    ],
    topology: Topology,
    size: Size = "1 GiB",
    algorithm: Annotated[str, typer.Option(help="torus_rings, ring, halving_doubling, ..., or auto.")] = "auto",
    as_json: Json = False,
) -> None:
    """A collective of a buffer of so many bytes on each chip, by the fastest algorithm or a named one."""
    from accsim.network import read_topology
    from accsim.report.network import collective_dict, print_collective
    from accsim.units import parse_quantity

    found = read_topology(topology)
    count = int(parse_quantity(size, "bytes"))
    with progress():
        plain = collective_dict(found, kind, count, found.collective(kind, count, algorithm=algorithm))
    if as_json:
        write_json(plain)
    else:
        print_collective(console(), plain)


@network.command("goodput", short_help="Share of a machine that does useful work while hosts fail.")
def goodput(
    host: Annotated[
        list[float] | None, typer.Option(metavar="SHARE", help="Time a host works; repeatable. Default .99 .995 .999.")
    ] = None,
    slices: Annotated[
        list[str] | None,
        typer.Option("--slice", metavar="AxBxC", help="Chips of a slice; repeatable. Default: Figure 4."),
    ] = None,
    confidence: Annotated[float, typer.Option(help="Probability with which a goodput is guaranteed.")] = 0.9,
    placement: Annotated[
        str, typer.Option(help="Blocks of fixed wires: partition, orientations, offsets or wrap.")
    ] = "partition",
    mix: Annotated[bool, typer.Option("--mix", help="Slices of all sizes, as published, instead of one size.")] = False,
    waiting: Annotated[int, typer.Option(min=1, help="With --mix: jobs that wait while later ones are served.")] = 10,
    samples: Annotated[int, typer.Option(min=0, help="Draw so many machines too; needed where slices overlap.")] = 0,
    rack: Annotated[float, typer.Option(help="Time a rack works.")] = 1.0,
    cable: Annotated[float, typer.Option(help="Time a cable works.")] = 1.0,
    switch: Annotated[float, typer.Option(help="Time an optical switch works.")] = 1.0,
    as_json: Json = False,
) -> None:
    """Goodput of TPU v4's 64 cubes with optical switches and with fixed wires, by slice and availability of hosts."""
    from accsim.network.goodput import Machine
    from accsim.network.ocs import Fabric
    from accsim.report.network import FIGURE_4, goodput_dict, mix_dict, print_goodput, print_mix

    shapes = [Fabric().grid(_numbers(text)) for text in slices] if slices else FIGURE_4
    machines = [Machine(up, rack, cable, switch) for up in host or (0.99, 0.995, 0.999)]
    with progress():
        if mix:
            plain = mix_dict(machines, waiting, samples or 10_000)
        else:
            plain = goodput_dict(machines, shapes, confidence, placement, samples)
    if as_json:
        write_json(plain)
    else:
        (print_mix if mix else print_goodput)(console(), plain)


def _numbers(text: str) -> list[int]:
    return [int(part) if part.isascii() and part.isdecimal() and len(part) < 8 else 0 for part in text.split("x")]


@network.command("jobs", short_help="Jobs that come, run and end, by the wiring of the machine.")
def jobs(
    load: Annotated[float, typer.Option(help="Share of the chips that jobs would use if none had to wait.")] = 0.7,
    mean: Annotated[str, typer.Option(metavar="TIME", help="Mean duration of a job, with a unit.")] = "14400 s",
    durations: Annotated[str, typer.Option(help="exponential, constant or lognormal.")] = "exponential",
    waiting: Annotated[int, typer.Option(min=1, help="Jobs that wait while later ones start; 1: in order.")] = 10,
    count: Annotated[int, typer.Option("--jobs", min=20, help="Jobs that come.")] = 3000,
    seed: Annotated[int, typer.Option(min=0, help="Of the jobs that are drawn.")] = 0,
    as_json: Json = False,
) -> None:
    """Jobs of the published mix on TPU v4's 64 cubes, with optical switches and with fixed wires."""
    from accsim.network.job_replay import Stream
    from accsim.report.network import jobs_dict, print_jobs
    from accsim.units import parse_quantity

    stream = Stream(load, parse_quantity(mean, "time"), durations, count, waiting)
    with progress():
        plain = jobs_dict(stream, seed)
    if as_json:
        write_json(plain)
    else:
        print_jobs(console(), plain)


@network.command("channels", short_help="Virtual channels for all shortest paths without deadlock.")
def channels(topology: Topology, as_json: Json = False) -> None:
    """Virtual channels with which messages may take all shortest paths and never deadlock, by scheme."""
    from accsim.network import read_topology
    from accsim.report.network import channels_dict, print_channels

    with progress():
        plain = channels_dict(read_topology(topology))
    if as_json:
        write_json(plain)
    else:
        print_channels(console(), plain)


@network.command("slices", short_help="The best slice for what a model sends.")
def slices(
    chips: Annotated[int, typer.Option(min=1, help="Chips of the slice.")],
    need: Annotated[
        list[str],
        typer.Option(metavar="KIND:SIZE[:GROUP[:TIMES]]", help="A collective of a step: all_gather:200MB:model:96."),
    ],
    group: Annotated[
        list[str] | None, typer.Option(metavar="NAME=CHIPS", help="Chips of a group: model=16. It gets whole axes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Every slice of so many chips, twisted or not, and every assignment of its axes to groups, the fastest first."""
    from accsim.network.slice_search import find_slices, read_need
    from accsim.report.network import print_slices, slices_dict

    needs = [read_need(text) for text in need]
    groups = dict(_group(text) for text in group or ())
    with progress():
        found = find_slices(chips, needs, groups)
    if as_json:
        write_json(slices_dict(chips, needs, groups, found))
    else:
        print_slices(console(), needs, found)


def _group(text: str) -> tuple[str, int]:
    name, equals, size = (part.strip() for part in text.partition("="))
    if not (name and equals and size.isascii() and size.isdecimal() and 0 < len(size) < 8 and int(size)):
        raise InputError(Problem("--group", "", f"read '{text[:60]}', allowed is NAME=CHIPS, such as model=16"))
    return name, int(size)


@network.command("topologies", short_help="List the topologies and how they are spelled.")
def topologies(as_json: Json = False) -> None:
    """List the topologies and how they are spelled."""
    from accsim.network import TOPOLOGIES
    from accsim.report.network import print_topologies

    if as_json:
        write_json([{"name": name, "example": one.example} for name, one in TOPOLOGIES.items()])
    else:
        print_topologies(console())
