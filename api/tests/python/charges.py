"""What a file of calls costs, worked out with exact decimals and independently of the program.

Each row: (input tokens x input price + output tokens x output price) x power x (1 + markup),
rounded half-even to a micro-dollar; with an own key 10 % of the list price, at least one credit
($0.001).
Prices are read from the price list as it is published. What the credits do not cover is owed.

usage: charges.py CALLS.csv PRICES.json MODEL RULE POWER CREDITS
  RULE is `markup:25` or `own-key:10`; CREDITS are whole credits.
"""

import csv
import json
import sys
from decimal import ROUND_HALF_EVEN, Decimal, getcontext

getcontext().prec = 60
POWER = {"eco": Decimal("0.1"), "balanced": Decimal("0.25"), "precision": Decimal(1)}
MICRO = Decimal("0.000001")


def main():
    calls, prices, model, rule, power, credits = sys.argv[1:]
    with open(prices, encoding="utf-8") as file:
        entry = json.load(file, parse_float=Decimal)[model]
    inner, outer = entry["input_cost_per_token"], entry["output_cost_per_token"]
    kind, percent = rule.split(":")
    factor = Decimal(percent) / 100
    total, rows, tokens = Decimal(0), 0, [0, 0]
    with open(calls, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            asked, answered = int(row["ContextTokens"]), int(row["GeneratedTokens"])
            listed = asked * Decimal(inner) + answered * Decimal(outer)
            exact = listed * POWER[power] * (1 + factor) if kind == "markup" else listed * factor
            charge = exact.quantize(MICRO, rounding=ROUND_HALF_EVEN)
            if kind == "own-key":
                charge = max(charge, Decimal("0.001"))
            total += charge
            rows += 1
            tokens = [tokens[0] + asked, tokens[1] + answered]
    used = total * 1000
    json.dump(
        {
            "rows": rows,
            "input_tokens": tokens[0],
            "output_tokens": tokens[1],
            "charge_usd": format(total.quantize(MICRO), "f"),
            "balance_credits": format(
                max(Decimal(credits) - used, Decimal(0)).quantize(MICRO), "f"
            ),
            "owed_credits": format(max(used - Decimal(credits), Decimal(0)).quantize(MICRO), "f"),
        },
        sys.stdout,
    )


main()
