"""The totals of an organization, worked out from the events alone, with exact fractions.

Independent of the program: prices are found and multiplied here, by the rules as they are written
in prose. Reads the JSON Lines of `opscenter-replay events` up to a position and prints the object
that `opscenter-replay totals --json` should print.

usage: totals.py EVENTS SLUG POSITION
"""

import json
import sys
from fractions import Fraction

TOKENS = {"llm_tokens_input", "llm_tokens_output"}
MICRO = 1_000_000


def half_even(value):
    """A fraction in whole millionths, ties to the even neighbour."""
    scaled = value * MICRO
    whole, rest = divmod(scaled.numerator, scaled.denominator)
    twice = 2 * rest
    up = twice > scaled.denominator or (twice == scaled.denominator and whole % 2 == 1)
    return whole + up


def millionths(text):
    value = Fraction(text) * MICRO
    assert value.denominator == 1, text
    return value.numerator


def decimal(number, digits):
    sign, number = ("-", -number) if number < 0 else ("", number)
    whole, rest = divmod(number, 10**digits)
    return f"{sign}{whole}.{rest:0{digits}}"


class Book:
    """What is offered and at which price, so far."""

    def __init__(self):
        self.tiers, self.models, self.card, self.meters, self.tier_of = {}, {}, None, {}, {}

    def take(self, kind, body):
        if kind == "tier_version_published":
            self.tiers[body["tier"], body["version"]] = body["terms"]
        elif kind == "model_priced":
            self.models[body["model"]] = body
        elif kind == "rate_card_published":
            self.card = body["rates"]
        elif kind == "meter_defined":
            self.meters[body["meter"]] = body["aggregation"]
        elif kind in ("organization_created", "organization_tier_changed"):
            self.tier_of[body["organization_id"]] = (body["tier"], body["tier_version"])

    def token_price(self, usage, meter):
        entry = self.models.get(usage["model"])
        if entry is None:
            provider = usage["model"].split("/")[0]
            known = self.card["provider_per_1000_tokens"]
            rate = known.get(provider, self.card["unknown_per_1000_tokens"])
            return Fraction(rate) / 1000
        prompt = usage["quantities"].get("llm_tokens_input", 0)
        holds = [p for p in entry["tokens"] if p["above"] == 0 or prompt > p["above"]]
        return Fraction(holds[-1]["input" if meter == "llm_tokens_input" else "output"])

    def charge(self, organization, usage):
        """In micro-dollars; None for a record that has no price."""
        calls = others = Fraction(0)
        for meter, quantity in usage["quantities"].items():
            if meter in TOKENS:
                calls += quantity * self.token_price(usage, meter)
            elif meter in self.card["meters"]:
                others += quantity * Fraction(self.card["meters"][meter])
            else:
                return None
        rule = self.tiers[self.tier_of[organization]]["calls"]
        if "markup" in rule:
            power = Fraction(self.card["power"][usage["power"]])
            factor = 1 + Fraction(rule["markup"]["percent"], 100)
            return half_even((calls * power + others) * factor)
        fee = rule["own_key_fee"]
        least = millionths(fee["minimum"]) // 1000 if usage["model"] else 0
        return max(least, half_even(calls * Fraction(fee["percent"], 100) + others))


class Totals:
    def __init__(self, slug):
        self.slug, self.id, self.book = slug, None, Book()
        self.meters, self.calls, self.prices, self.charged = {}, 0, {}, 0
        self.granted = self.gone = self.paid_usage = 0

    def take(self, event):
        kind, body = event["type"], event["payload"]
        self.book.take(kind, body)
        if kind == "organization_created" and body["slug"] == self.slug:
            self.id = body["organization_id"]
        if self.id is None or event["organization"] != self.id:
            return
        if kind == "usage_recorded":
            self.use(event["position"], body)
        elif kind == "credits_granted":
            self.granted += millionths(body["credits"])
        elif kind in ("grant_expired", "grant_voided"):
            self.gone += millionths(body["credits"])
        elif kind == "usage_charged":
            for line in body["lines"]:
                self.charged += self.prices.pop(line["usage_position"]) or 0
            self.pay(body["consumed"])
        elif kind == "owed_settled":
            self.pay(body["consumed"])
        elif kind == "credits_spent":
            self.gone += total(body["consumed"])
        elif kind == "hold_placed":
            self.gone += total(body["held"])
        elif kind in ("hold_captured", "hold_released", "hold_expired"):
            self.gone -= total(body["released"])

    def pay(self, consumed):
        self.paid_usage += total(consumed)

    def use(self, position, usage):
        self.prices[position] = self.book.charge(self.id, usage)
        self.calls += usage["model"] is not None and "api_calls" not in usage["quantities"]
        for meter, quantity in usage["quantities"].items():
            before = self.meters.get(meter, 0)
            largest = self.book.meters.get(meter) == "max"
            self.meters[meter] = max(before, quantity) if largest else before + quantity

    def answer(self, position):
        meters = dict(self.meters)
        if self.calls:
            meters["api_calls"] = meters.get("api_calls", 0) + self.calls
        owed = self.charged * 1000 - self.paid_usage
        return {
            "meters": meters,
            "charge_usd": decimal(self.charged, 6),
            "balance_credits": decimal(self.granted - self.gone - self.paid_usage, 6),
            "owed_usd": decimal(owed // 1000, 6) if owed % 1000 == 0 else decimal(owed, 9),
            "position": position,
            "uncharged_records": len(self.prices),
        }


def total(parts):
    return sum(millionths(part["credits"]) for part in parts)


def main(path, slug, position):
    totals = Totals(slug)
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line, parse_float=Fraction)
            if event["position"] > position:
                break
            totals.take(event)
    print(json.dumps(totals.answer(position)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
