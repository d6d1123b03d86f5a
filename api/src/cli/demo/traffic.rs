//! One day of traffic, always the same for the same seed.
//!
//! Taken from what is published of real traffic, the hour of conversations in the Azure LLM
//! inference trace 2023 (Patel et al., "Splitwise", ISCA 2024; CC-BY): prompts and answers have the
//! quantiles of that trace. Prompts are heavy-tailed with plateaus: half are at most 1,020 tokens,
//! a twentieth more than 4,083, the longest 14,050; half of the answers are at most 129 tokens and
//! a tenth more than 424. Prompt and answer of a call are drawn independently, which the trace's
//! are not quite. The trace has one hour only: that calls follow a working day, with peaks before
//! and after noon UTC and a twelfth of these at night, is an assumption of ours.
//!
//! Other meters (searches, images, speech) are sprinkled in, so that a bill has more than one line.

use chrono::TimeDelta;
use commands::UsageItem;
use domain::Instant;
use domain::catalogue::rate_card::PowerLevel;
use domain::catalogue::standard::Mistake;
use domain::metering::rating::{INPUT_TOKENS, OUTPUT_TOKENS};
use std::collections::BTreeMap;

/// Hours of the day that is generated.
pub(super) const HOURS: u64 = 24;
const HOUR_MICROS: u64 = 3_600_000_000;

/// Points of a distribution: how many of 1,000 calls have at most so many tokens.
type Quantiles = &'static [(u64, u64)];

#[rustfmt::skip]
const PROMPT: Quantiles = &[
    (0, 2), (10, 29), (50, 181), (100, 207), (150, 372), (200, 387), (300, 403), (350, 414),
    (400, 703), (450, 984), (500, 1_020), (600, 1_071), (700, 1_130), (750, 1_189), (800, 1_315),
    (850, 1_877), (900, 2_735), (950, 4_083), (990, 4_142), (999, 6_212), (1_000, 14_050),
];
#[rustfmt::skip]
const ANSWER: Quantiles = &[
    (0, 7), (10, 16), (50, 41), (100, 54), (200, 77), (300, 91), (400, 103), (450, 113), (500, 129),
    (550, 151), (600, 177), (650, 217), (700, 384), (800, 400), (850, 411), (900, 424), (950, 451),
    (990, 601), (999, 954), (1_000, 1_000),
];

/// How busy each hour of the day is, in UTC.
#[rustfmt::skip]
const DAY: [u64; 24] = [
    3, 2, 1, 1, 1, 2, 4, 7, 10, 12, 12, 11, 9, 10, 12, 12, 11, 9, 7, 6, 5, 5, 4, 4,
];

/// How an organization uses the platform.
pub(super) struct Pattern {
    pub(super) slug: &'static str,
    pub(super) calls: u64,
    /// Models and how often each is called.
    models: &'static [(u64, &'static str)],
    /// How many of 100 calls are at each power level.
    power: [(u64, PowerLevel); 3],
    seed: u64,
}

use PowerLevel::{Balanced, Eco, Precision};

pub(super) const PATTERNS: &[Pattern] = &[
    Pattern {
        slug: "magic-unicorn",
        calls: 1_900,
        models: &[(5, "gpt-4o"), (3, "gemini/gemini-2.5-pro"), (2, "mistral/mistral-small-latest")],
        power: [(10, Eco), (40, Balanced), (50, Precision)],
        seed: 1,
    },
    Pattern {
        slug: "acme",
        calls: 1_500,
        models: &[(4, "gpt-4.1"), (4, "gpt-4o-mini"), (2, "gemini/gemini-2.5-flash")],
        power: [(0, Eco), (20, Balanced), (80, Precision)],
        seed: 2,
    },
    Pattern {
        slug: "lone-wolf",
        calls: 500,
        models: &[
            (3, "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo"),
            (2, "deepseek/deepseek-chat"),
        ],
        power: [(0, Eco), (0, Balanced), (100, Precision)],
        seed: 3,
    },
    Pattern {
        slug: "paper-plane",
        calls: 100,
        models: &[(1, "gpt-4o-mini")],
        power: [(100, Eco), (0, Balanced), (0, Precision)],
        seed: 4,
    },
];

/// The beginning of the day (UTC) before a moment.
pub(super) fn day_before(moment: Instant) -> Instant {
    let begun = moment.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    begun - TimeDelta::days(1)
}

/// The calls of an organization in one hour of the day that begins at `from`, oldest first.
pub(super) fn hour(pattern: &Pattern, from: Instant, hour: u64) -> Result<Vec<UsageItem>, Mistake> {
    let begin = from + TimeDelta::hours(i64::try_from(hour)?);
    let (before, after) = (calls_until(pattern, hour), calls_until(pattern, hour + 1));
    let mut random = Random(pattern.seed.wrapping_mul(1_000).wrapping_add(hour));
    let mut times: Vec<u64> = (before..after).map(|_| random.below(HOUR_MICROS)).collect();
    times.sort_unstable();
    let call = |(number, micros): (u64, u64)| {
        let occurred_at = begin + TimeDelta::microseconds(i64::try_from(micros)?);
        call(pattern, number, occurred_at, &mut random)
    };
    (before + 1..).zip(times).map(call).collect()
}

/// How many of the day's calls there are before an hour; whole numbers that add up to the day's.
fn calls_until(pattern: &Pattern, hour: u64) -> u64 {
    let hours = usize::try_from(hour).unwrap_or(DAY.len());
    let until: u64 = DAY.iter().take(hours).sum();
    pattern.calls * until / DAY.iter().sum::<u64>()
}

fn call(
    pattern: &Pattern,
    number: u64,
    occurred_at: Instant,
    random: &mut Random,
) -> Result<UsageItem, Mistake> {
    let prompt = random.of(PROMPT);
    let answer = random.of(ANSWER);
    let model = random.one_of(pattern.models).copied().unwrap_or("gpt-4o-mini");
    let power = random.one_of(&pattern.power).copied().unwrap_or_default();
    let kind = random.below(100);
    let (model, quantities): (_, Vec<(&str, u64)>) = match kind {
        0..=2 => (None, vec![("search_queries", 1)]),
        3 => (None, vec![("image_generations", 1)]),
        4 => (None, vec![("tts_characters", answer * 4)]),
        _ => (
            Some(model.parse()?),
            vec![("api_calls", 1), (INPUT_TOKENS, prompt), (OUTPUT_TOKENS, answer)],
        ),
    };
    let quantities = quantities
        .into_iter()
        .map(|(meter, quantity)| Ok((meter.parse()?, quantity)))
        .collect::<Result<BTreeMap<_, _>, Mistake>>()?;
    let usage_id = format!("call-{number:06}").parse()?;
    Ok(UsageItem { usage_id, occurred_at, model, power, quantities })
}

/// SplitMix64: short, and the same on every machine.
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`; that small numbers are a trace likelier does not matter here.
    const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A draw from a distribution, straight between its points.
    fn of(&mut self, quantiles: Quantiles) -> u64 {
        let at = self.below(1_000_000);
        let mut before = (0, 0);
        for &(place, tokens) in quantiles {
            let place = place * 1_000;
            if at <= place {
                let (begin, least) = before;
                let width = (place - begin).max(1);
                return least + (tokens - least) * (at - begin) / width;
            }
            before = (place, tokens);
        }
        before.1
    }

    /// One of several, by weight.
    fn one_of<'a, T>(&mut self, choices: &'a [(u64, T)]) -> Option<&'a T> {
        let sum: u64 = choices.iter().map(|(weight, _)| weight).sum();
        let mut at = self.below(sum.max(1));
        choices.iter().find_map(|(weight, choice)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here.then_some(choice)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(pattern: &Pattern) -> Vec<UsageItem> {
        let moment = chrono::DateTime::from_timestamp(1_800_000_000, 0).expect("a moment");
        let from = day_before(moment);
        assert_eq!(from.to_rfc3339(), "2027-01-14T00:00:00+00:00");
        (0..HOURS).flat_map(|number| hour(pattern, from, number).expect("an hour")).collect()
    }

    #[test]
    fn a_day_is_the_same_each_time_and_has_as_many_calls_as_it_should() {
        for pattern in PATTERNS {
            let calls = day(pattern);
            assert_eq!(calls, day(pattern));
            assert_eq!(u64::try_from(calls.len()).expect("fits"), pattern.calls);
            assert!(calls.is_sorted_by_key(|call| call.occurred_at));
            assert!(calls.is_sorted_by_key(|call| call.usage_id.clone()));
        }
    }

    #[test]
    fn prompts_are_spread_as_published() {
        let mut random = Random(7);
        let mut prompts: Vec<u64> = (0..20_000).map(|_| random.of(PROMPT)).collect();
        prompts.sort_unstable();
        let sum: u64 = prompts.iter().sum();
        // Published: a mean of 1,155 tokens, a median of 1,020, a 99th percentile of 4,142.
        assert!((1_100..1_220).contains(&(sum / 20_000)), "mean {}", sum / 20_000);
        assert!((1_000..1_040).contains(&prompts[10_000]), "median {}", prompts[10_000]);
        assert!((4_100..4_200).contains(&prompts[19_800]), "p99 {}", prompts[19_800]);
        let mut answers: Vec<u64> = (0..20_000).map(|_| random.of(ANSWER)).collect();
        answers.sort_unstable();
        // Published: a mean of 211 tokens, a median of 129.
        let mean = answers.iter().sum::<u64>() / 20_000;
        assert!((200..225).contains(&mean), "mean {mean}");
    }

    #[test]
    fn the_night_is_quieter_than_the_day() {
        let from = chrono::DateTime::UNIX_EPOCH;
        let calls = |number| hour(&PATTERNS[0], from, number).expect("an hour").len();
        assert!(calls(10) > 5 * calls(3), "{} and {}", calls(10), calls(3));
    }
}
