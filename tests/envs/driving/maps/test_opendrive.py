"""Reading OpenDRIVE: what is read, and what malformed files are told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.driving.errors import MapError
from envs.driving.maps.opendrive import parse_opendrive, read_opendrive
from envs.driving.maps.xml_reader import MAX_DEPTH, parse_xml
from tests.support.maps import LINE, lane, opendrive, road, section

SIGNAL = (
    '<signals><signal id="7" type="274" s="30" t="-4" orientation="+" value="30" unit="mph">'
    '<validity fromLane="-1" toLane="-1"/></signal><signalReference id="7" s="60" t="0" orientation="-"/></signals>'
)
JUNCTION = (
    '<junction id="9"><connection id="0" incomingRoad="1" connectingRoad="2" contactPoint="start">'
    '<laneLink from="-1" to="-1"/></connection>'
    '<controller id="c2" sequence="1"/><controller id="c1" sequence="0"/></junction>'
)


def test_what_a_road_says_is_read():
    speed = '<type s="0" type="town"><speed max="25" unit="mph"/></type>'
    height = '<elevationProfile><elevation s="0" a="2" b="0.1" c="0" d="0"/></elevationProfile>'
    links = '<predecessor elementType="road" elementId="5" contactPoint="end"/>'
    links += '<successor elementType="junction" elementId="9"/>'
    drive = parse_opendrive(opendrive(road(1, links=links, extra=speed + height + SIGNAL), JUNCTION), "a.xodr")
    read = drive.roads["1"]
    assert read.length == 100.0
    assert read.junction is None
    assert (read.predecessor.target, read.predecessor.contact, read.predecessor.is_junction) == ("5", "end", False)
    assert (read.successor.target, read.successor.is_junction) == ("9", True)
    assert read.speeds == ((0.0, pytest.approx(25 * 0.44704)),)
    assert read.elevation.at(np.array([10.0]))[0][0] == pytest.approx(3.0)
    assert [(s.s, s.orientation, s.lanes, round(s.speed, 3)) for s in read.signals] == [
        (30.0, "+", ((-1, -1),), 13.411),
        (60.0, "-", (), 13.411),
    ]
    junction = drive.junctions["9"]
    assert junction.connections[0].lane_links == ((-1, -1),)
    assert junction.controllers == ("c1", "c2")


def test_signals_with_one_number_on_two_roads_are_two():
    parts = [f'<signals><signal id="0" type="{kind}" s="1" t="0"/></signals>' for kind in ("206", "1000001")]
    roads = parse_opendrive(opendrive(road(1, extra=parts[0]), road(2, extra=parts[1])), "a.xodr").roads
    assert [roads[name].signals[0].type for name in ("1", "2")] == ["206", "1000001"]


@pytest.mark.parametrize(
    ("text", "limit"), [("no limit", 130 / 3.6), ("undefined", None), ("50", 50.0)], ids=["none", "undefined", "m/s"]
)
def test_speed_limits_in_words_and_without_a_unit(text, limit):
    speed = f'<type s="0" type="town"><speed max="{text}"/></type>'
    speeds = parse_opendrive(opendrive(road(extra=speed)), "a.xodr").roads["1"].speeds
    assert speeds == (() if limit is None else ((0.0, pytest.approx(limit)),))


MALFORMED = {
    "attribute missing": (road().replace('hdg="0.0"', 'hdgg="0.0"'), ["<geometry>", "'hdg'", "did you mean 'hdgg'"]),
    "not a number": (road().replace('hdg="0.0"', 'hdg="north"'), ["<geometry>", "hdg='north' is not a number"]),
    "not finite": (road().replace('hdg="0.0"', 'hdg="nan"'), ["hdg='nan' is not finite"]),
    "absurd": (road().replace('hdg="0.0"', 'hdg="-1e300"'), ["hdg='-1e300' is not finite, or absurdly large"]),
    "negative length": (road(length=-1.0), ["<road>", "length=-1.0 must be above 0"]),
    "endless": (road(length=1e9), ["<planView>", "at most 100000 m"]),
    "unknown geometry": (road(geometry="<circle/>"), ["<geometry>", "<circle>", "<spiral>"]),
    "empty geometry": (road(geometry=" "), ["holds nothing"]),
    "no geometry": (road().replace("geometry", "geometri"), ["<planView>", "no <geometry>"]),
    "no plan": (road().replace("planView", "plan"), ["<road>", "no <planView>"]),
    "no sections": (road(lanes=""), ["<lanes>", "no <laneSection>"]),
    "section behind the end": (road(lanes=section(lane(-1), s=100.0)), ["s=100.0", "100.0 m long"]),
    "section before the start": (
        road(lanes=section(lane(-1), s=-5.0)),
        ["<laneSection>", "s=-5.0 must not be below 0"],
    ),
    "sections in disorder": (
        road(lanes=section(lane(-1), s=9.0) + section(lane(-1), s=9.0)),
        ["<laneSection>", "does not lie behind"],
    ),
    "lane on the wrong side": (road(lanes=section(lane(1))), ["<lane>", "id=1 inside <right>"]),
    "lane twice": (road(lanes=section(lane(-1) + lane(-1))), ["id=-1 occurs twice"]),
    "lane left out": (road(lanes=section(lane(-2))), ["lane -2 but no lane -1"]),
    "lane id not whole": (road(lanes=section(lane(-1).replace('id="-1"', 'id="x"'))), ["id='x' is not an integer"]),
    "no width": (road(lanes=section(lane(-1).replace("width", "breadth"))), ["lane -1", "no <width>"]),
    "border": (road(lanes=section(lane(-1).replace("<width", "<border"))), ["<border>", "give its <width>"]),
    "road twice": (road(1) + road(1), ["id '1' occurs twice"]),
    "contact": (
        road(links='<successor elementType="road" elementId="1" contactPoint="middle"/>'),
        ["<successor>", "contactPoint='middle'", "'start' or 'end'"],
    ),
    "link kind": (road(links='<successor elementType="lane" elementId="1"/>'), ["elementType='lane'"]),
    "signal missing": (
        road(extra='<signals><signalReference id="4" s="1" t="0"/></signals>'),
        ["<signalReference>", "'4'", "not in the file"],
    ),
    "unit": (road(extra='<type s="0"><speed max="3" unit="knots"/></type>'), ["<speed>", "unit='knots'", "km/h"]),
    "speed": (
        road(extra='<type s="0"><speed max="1e20"/></type>'),
        ["<speed>", "max=1e+20 m/s", "at most 200.0 m/s"],
    ),
    "no speed": (road(extra='<type s="0"><speed max="0"/></type>'), ["must be above 0"]),
    "range": (
        road(geometry='<paramPoly3 pRange="x" aU="0" bU="1" cU="0" dU="0" aV="0" bV="0" cV="0" dV="0"/>'),
        ["<paramPoly3>", "pRange='x'"],
    ),
    "point": (
        road(geometry='<paramPoly3 aU="0" bU="0" cU="0" dU="0" aV="0" bV="0" cV="0" dV="0"/>'),
        ["<paramPoly3>", "single point"],
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_told_file_line_road_and_element(name):
    text, fragments = MALFORMED[name]
    with pytest.raises(MapError) as error:
        parse_opendrive(opendrive(text), "bad.xodr")
    for fragment in ("bad.xodr, line 2, road 1", *fragments):
        assert fragment in str(error.value)


def test_errors_in_junctions_name_the_junction():
    text = JUNCTION.replace('contactPoint="start"', "")
    with pytest.raises(MapError, match=r"junction 9, <connection>: lacks the attribute 'contactPoint'"):
        parse_opendrive(opendrive(road(), text), "bad.xodr")


@given(st.integers(1, len(opendrive(road(1), road(2), JUNCTION)) - 2))
def test_a_file_cut_anywhere_is_refused(length):
    with pytest.raises(MapError, match=r"^cut\.xodr, line \d+"):
        parse_opendrive(opendrive(road(1), road(2), JUNCTION)[:length], "cut.xodr")


@pytest.mark.parametrize("encoding", ["x", "utf-7", "shift_jis"])
def test_an_encoding_that_cannot_be_read_is_named(encoding):
    content = f'<?xml version="1.0" encoding="{encoding}"?>\n<OpenDRIVE/>'.encode()
    with pytest.raises(MapError, match=r"^odd\.xodr, line 1: .*encoding.* Write the map in utf-8\.$"):
        parse_opendrive(content, "odd.xodr")


def test_a_truncated_file_names_the_road_it_ends_in():
    content = opendrive(road(1), road(2))
    cut = content[: content.rindex(b"<laneSection") + 20]
    with pytest.raises(MapError, match=r"road 2, <lanes>: not well-formed XML at line 3: .*Is the file complete\?"):
        parse_opendrive(cut, "cut.xodr")


@pytest.mark.parametrize(
    "prologue",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><OpenDRIVE>&b;</OpenDRIVE>',
        '<!DOCTYPE x SYSTEM "file:///etc/hostname"><OpenDRIVE/>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><OpenDRIVE>&a;</OpenDRIVE>',
    ],
    ids=["expansion", "external type", "external entity"],
)
def test_document_types_and_entities_are_refused(prologue):
    with pytest.raises(MapError, match="document types and entities are refused"):
        parse_xml(prologue.encode(), "evil.xodr")


def test_elements_nested_too_deep_are_refused():
    parse_xml(b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH, "deep.xodr")
    with pytest.raises(MapError, match=f"more than {MAX_DEPTH} elements within each other"):
        parse_xml(b"<a>" * (MAX_DEPTH + 1) + b"</a>" * (MAX_DEPTH + 1), "deep.xodr")


@pytest.mark.parametrize(("name", "limit"), [("MAX_BYTES", 20), ("MAX_ELEMENTS", 2)])
def test_size_is_bounded(monkeypatch, name, limit):
    monkeypatch.setattr(f"envs.driving.maps.xml_reader.{name}", limit)
    with pytest.raises(MapError, match=f"{limit}"):
        parse_xml(b"<OpenDRIVE><road/><road/></OpenDRIVE>", "large.xodr")


def test_another_kind_of_file_is_refused():
    with pytest.raises(MapError, match="expected <OpenDRIVE>"):
        parse_opendrive(b"<osm/>", "a.osm")


def test_a_missing_file_gets_the_nearest_name(tmp_path):
    (tmp_path / "Town01.xodr").write_bytes(opendrive(road()))
    with pytest.raises(MapError, match=r"Did you mean 'Town01\.xodr'\?"):
        read_opendrive(tmp_path / "Twon01.xodr")
    assert list(read_opendrive(tmp_path / "Town01.xodr").roads) == ["1"]


def test_every_geometry_is_read():
    kinds = [
        LINE,
        '<arc curvature="0.01"/>',
        '<spiral curvStart="0" curvEnd="0.01"/>',
        '<poly3 a="0" b="0" c="0.001" d="0"/>',
        '<paramPoly3 pRange="arcLength" aU="0" bU="1" cU="0" dU="0" aV="0" bV="0" cV="0.005" dV="0"/>',
    ]
    drive = parse_opendrive(opendrive(*[road(n, 30.0, geometry=kind) for n, kind in enumerate(kinds)]), "a.xodr")
    ends = [float(drive.roads[str(n)].line.at(np.array([30.0])).y[0]) for n in range(len(kinds))]
    # By hand to first order: 0, L^2 k/2, L^3 k'/6, c L^2, c L^2.
    np.testing.assert_allclose(ends, [0.0, 4.5, 1.5, 0.9, 4.5], rtol=0.03)
