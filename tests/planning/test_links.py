"""Links, devices and sizes as people write them."""

import pytest

from localgrad.errors import LocalgradError
from localgrad.planning import Devices, Link, parse_devices, parse_link, parse_size


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("1Gbit,20ms", Link(125e6, 0.02)),
        ("125MB/s, 50us", Link(1e9 / 8, 50e-6)),
        ("10Gbps", Link(1.25e9)),
        ("56kbit,1.5s", Link(7000.0, 1.5)),
        ("2Byte,0ms", Link(2.0)),
    ],
)
def test_links(text: str, link: Link) -> None:
    found = parse_link(text)
    assert found.bytes_per_second == pytest.approx(link.bytes_per_second)
    assert found.latency == pytest.approx(link.latency)
    assert found.seconds(1000) == pytest.approx(link.latency + 1000 / link.bytes_per_second)


def test_devices() -> None:
    assert parse_devices("fast:2,slow:6") == (
        Devices("fast", 1.0, 2, assumed=True),
        Devices("slow", 0.5, 6, assumed=True),
    )
    assert parse_devices("1:2, 0.25:6") == (Devices("1", 1.0, 2), Devices("0.25", 0.25, 6))
    assert parse_devices("gpu=4.5:1,slow=0.1:3") == (Devices("gpu", 4.5, 1), Devices("slow", 0.1, 3))


def test_sizes() -> None:
    assert [parse_size(text) for text in ("4GiB", "500MB", "1.5 KiB", "7B")] == [2**32, 500_000_000, 1536, 7]


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (parse_link, "20ms", "links: expected a bandwidth such as 1Gbit or 125MB before the comma, got '20ms'"),
        (
            parse_link,
            "1Gbit,fast",
            "links: expected a latency such as 20ms after the comma, got 'fast' in '1Gbit,fast'",
        ),
        (parse_link, "1Gbit,", "after the comma, got ''"),
        (parse_link, "0bit,1ms", "links: the bandwidth must be above 0, got '0bit,1ms'."),
        (parse_devices, "fast", "devices: expected SPEED:COUNT or NAME=SPEED:COUNT"),
        (parse_devices, "quick:2", "devices: the speed of 'quick' is not known; only fast and slow stand for speeds."),
        (parse_devices, "quick:2", "Write quick=SPEED:2, where 1 is the device that the units were measured on."),
        (parse_devices, "0:2", "devices: speed and count must be above 0, got '0:2' in '0:2'."),
        (parse_devices, "fast:2,slow:0", "devices: speed and count must be above 0, got 'slow:0'"),
        (parse_devices, "fast:2,fast:1", "devices: 'fast' comes twice in 'fast:2,fast:1'."),
        (parse_size, "4 gigs", "memory: expected a number of bytes such as 4GiB or 500MB, got '4 gigs'."),
        (parse_size, "0B", "memory: the limit must be above 0, got '0B'."),
    ],
)
def test_errors(parse, text: str, said: str) -> None:
    with pytest.raises(LocalgradError) as error:
        parse(text)
    assert said in str(error.value)
