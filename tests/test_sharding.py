"""Every ticket belongs to exactly one shard, and few move when shards are added."""

from __future__ import annotations

import urllib.request
from contextlib import ExitStack
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools import exporter, listening, running, until

from exporter import simulator
from exporter.sharding import Shard

UUIDS = st.text("ABCDEFabcdef0123456789_-", min_size=1, max_size=26)
MANY = [f"SCT20260102110405{number:09x}" for number in range(4000)]


@given(uuid=UUIDS, total=st.integers(1, 20))
def test_exactly_one_shard_owns_a_ticket(uuid, total):
    assert sum(Shard(ordinal, total).owns(uuid) for ordinal in range(total)) == 1


@given(uuid=UUIDS, total=st.integers(1, 20))
def test_a_ticket_moves_to_the_new_shard_or_not_at_all(uuid, total):
    before = [Shard(ordinal, total).owns(uuid) for ordinal in range(total)]
    after = [Shard(ordinal, total + 1).owns(uuid) for ordinal in range(total + 1)]
    assert after[-1] or after[:-1] == before


def test_from_three_to_four_shards_at_most_30_percent_of_the_tickets_move():
    moved = sum(any(Shard(n, 3).owns(uuid) and not Shard(n, 4).owns(uuid) for n in range(3)) for uuid in MANY)
    assert 0.2 < moved / len(MANY) <= 0.3


@pytest.mark.parametrize("total", [2, 3, 8])
def test_shards_have_about_as_many_tickets_each(total):
    sizes = [sum(Shard(ordinal, total).owns(uuid) for uuid in MANY) for ordinal in range(total)]
    assert max(sizes) < 1.2 * len(MANY) / total


CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    auth: {{token: {{token: demo-token}}}}
    discovery: {{max_tickets: 100}}
    tickets: [{{execute_uuid: {listed}}}]
poll: {{requests_per_second: 60}}
"""


def test_three_processes_share_the_tickets_and_their_sum_is_the_whole_truth(tmp_path):
    script = simulator.Script()
    for number in range(30):
        script.ticket(f"SCT-{number:02}", batches=[2, 1], instances="FINISHED", status="FINISHED")
    config = tmp_path / "config.yaml"
    with ExitStack() as stack:
        url = stack.enter_context(simulator.running(simulator.build(world=script)))
        config.write_text(CONFIG.format(url=url, listed="SCT-07"))
        shown = []
        for ordinal in range(3):
            flags = (f"--shard={ordinal}", "--total-shards=3", "--web.listen-address=127.0.0.1:0")
            command = exporter("serve", f"--config.file={config}", *flags)
            process = stack.enter_context(running(command, tmp_path / f"log{ordinal}"))
            base = listening(process)
            shown.append(until(partial(_shown, base), "a whole poll"))
    owned = [[line for line in text.splitlines() if line.startswith("coc_ticket_up")] for text in shown]
    assert sorted(line for lines in owned for line in lines) == [
        f'coc_ticket_up{{account="prod",execute_uuid="SCT-{number:02}"}} 1.0' for number in range(30)
    ]
    assert all(lines for lines in owned)
    finished = sum(
        float(line.rsplit(" ", 1)[1])
        for text in shown
        for line in text.splitlines()
        if line.startswith("coc_instances{") and 'status="FINISHED"' in line
    )
    assert finished == 90
    for ordinal, text in enumerate(shown):
        assert f"coc_exporter_shard_ordinal {ordinal}.0" in text
        assert "coc_exporter_total_shards 3.0" in text
        assert 'coc_exporter_api_request_rate_limit{account="prod"} 20.0' in text


def _shown(base):
    with urllib.request.urlopen(f"{base}/metrics") as answer:
        text = answer.read().decode()
    return text if text.count("\ncoc_ticket_up{") and 'coc_up{account="prod"} 1.0' in text else ""
