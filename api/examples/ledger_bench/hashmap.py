"""Rates points by CloudKitty's HashMap in this process, without its database, and prints the seconds and the sum.

Called by `ledger_bench` with the number of points; `python` is one into which cloudkitty was installed."""

import datetime
import decimal
import json
import sys
import time

from cloudkitty.dataframe import DataFrame, DataPoint
from cloudkitty.rating.hash import HashMap

SKUS = 20
HOURS = 720

count = int(sys.argv[1])
costs = {f"plan-{sku}": {"type": "flat", "cost": decimal.Decimal(100 + sku) / 100} for sku in range(SKUS)}
engine = HashMap.__new__(HashMap)
engine._tenant_id = "bench"
engine._res = {}
field = {"mappings": {"_DEFAULT_": costs}, "thresholds": {}}
engine._entries = {"instance": {"mappings": {}, "thresholds": {}, "fields": {"flavor": field}}}
start = datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc)
data = DataFrame(start=start, end=start + datetime.timedelta(hours=HOURS))
for point in range(count):
    order = point // HOURS
    data.add_point(
        DataPoint("instance", 1, 0, {"id": f"order-{order}"}, {"flavor": f"plan-{order % SKUS}"}), "instance"
    )
began = time.perf_counter()
rated = engine.process(data)
seconds = time.perf_counter() - began
total = sum(point.price for _, point in rated.iterpoints())
print(json.dumps({"seconds": seconds, "minor": int(total * 100)}))
