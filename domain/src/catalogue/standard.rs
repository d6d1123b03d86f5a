//! The catalogue that a new installation can begin with: published tiers, add-ons, credit packs,
//! meters and rates, as commands to publish them.
//!
//! Tiers changed on 2026-06-24; both versions are published, because an organization keeps the
//! version it was put on. A tier that did not change then has one version.

use super::add_on::AddOnPublished;
use super::credit_pack::CreditPackPublished;
use super::meter::{Aggregation, MeterDefined};
use super::rate_card::{PowerLevel, Rates};
use super::tier::{CallPricing, Limit, Terms};
use crate::Instant;
use crate::values::{Amount, Code, Credits, Currency, Money};
use chrono::DateTime;
use std::collections::BTreeSet;

/// Why a figure below cannot be read: a mistake in this file, found by its tests.
pub type Mistake = Box<dyn std::error::Error + Send + Sync>;

/// 2025-11-01, when the first versions took effect.
const FIRST: i64 = 1_761_955_200;
/// 2026-06-24, when the second versions took effect.
const SECOND: i64 = 1_782_259_200;

/// Columns: code, name, from, month, year, calls (−1 is unlimited), seats, own keys, priority
/// support, invite only, monthly credits (−1 is by contract), markup in percent.
type TierRow = (
    &'static str,
    &'static str,
    i64,
    &'static str,
    &'static str,
    i64,
    u32,
    bool,
    bool,
    bool,
    i64,
    u32,
);

#[rustfmt::skip]
const TIERS: &[TierRow] = &[
    ("trial", "Trial", FIRST, "", "", 700, 1, true, false, false, 5_000, 0),
    ("free", "Free", FIRST, "0", "0", 0, 1, false, false, false, 0, 0),
    ("starter", "Starter", FIRST, "19", "190", 1_000, 1, true, false, false, 20_000, 40),
    ("professional", "Professional", FIRST, "49", "490", 10_000, 5, true, true, false, 60_000, 60),
    ("enterprise", "Enterprise", FIRST, "99", "990", -1, 10, true, true, false, -1, 80),
    ("app", "App", SECOND, "15", "150", -1, 1, false, false, false, 4_000, 25),
    ("byok", "Suite, bring your own key", FIRST, "30", "300", -1, 1, true, true, false, 0, 10),
    ("byok", "Suite, bring your own key", SECOND, "49", "490", -1, 1, true, true, false, 0, 10),
    ("managed", "Suite, managed", FIRST, "50", "500", 50_000, 5, true, true, false, 12_000, 25),
    ("managed", "Suite, managed", SECOND, "65", "650", 50_000, 3, true, true, false, 12_000, 25),
    ("vip_founder", "VIP / Founder", FIRST, "0", "0", 10_000, 1, true, true, true, 10_000, 0),
];

/// Every feature key there is.
const FEATURES: &[&str] = &[
    "chat_access",
    "search_enabled",
    "tts_enabled",
    "stt_enabled",
    "billing_dashboard",
    "litellm_access",
    "brigade_access",
    "bolt_access",
    "priority_support",
    "dedicated_support",
    "sso_enabled",
    "audit_logs",
    "custom_integrations",
    "white_label",
];

fn features_of(tier: &str) -> &'static [&'static str] {
    match tier {
        "vip_founder" => &["chat_access", "search_enabled", "litellm_access", "priority_support"],
        "byok" => &[
            "chat_access",
            "search_enabled",
            "litellm_access",
            "priority_support",
            "tts_enabled",
            "stt_enabled",
            "brigade_access",
        ],
        "managed" => FEATURES.split_at(10).0,
        "enterprise" => FEATURES,
        "starter" => &["chat_access", "search_enabled"],
        "professional" => &[
            "chat_access",
            "search_enabled",
            "tts_enabled",
            "stt_enabled",
            "litellm_access",
            "billing_dashboard",
        ],
        "trial" => &["chat_access", "search_enabled", "litellm_access"],
        "free" | "app" => &["chat_access"],
        _ => &[],
    }
}

fn codes(texts: &[&str]) -> Result<BTreeSet<Code>, Mistake> {
    texts.iter().map(|text| Ok(text.parse::<Code>()?)).collect()
}

fn dollars(text: &str) -> Result<Money, Mistake> {
    Ok(Money::parse(text, Currency::USD)?)
}

fn moment(seconds: i64) -> Result<Instant, Mistake> {
    DateTime::from_timestamp(seconds, 0).ok_or_else(|| "no such moment".into())
}

fn whole_credits(credits: i64) -> Result<Credits, Mistake> {
    Credits::from_whole(credits).ok_or_else(|| "too many credits".into())
}

/// The published versions of all tiers, oldest first.
///
/// # Errors
/// A figure in this file cannot be read.
pub fn tiers() -> Result<Vec<(Code, Terms)>, Mistake> {
    TIERS.iter().map(tier).collect()
}

fn tier(row: &TierRow) -> Result<(Code, Terms), Mistake> {
    let &(code, name, from, month, year, calls, seats, own, priority, invite, credits, percent) =
        row;
    let price = |text: &str| (!text.is_empty()).then(|| dollars(text)).transpose();
    let pricing = if code == "byok" {
        CallPricing::OwnKeyFee { percent, minimum: whole_credits(1)? }
    } else {
        CallPricing::Markup { percent }
    };
    let terms = Terms {
        name: name.parse()?,
        effective_from: moment(from)?,
        price_month: price(month)?,
        price_year: price(year)?,
        api_calls: u64::try_from(calls).map_or(Limit::Unlimited, Limit::AtMost),
        seats,
        own_keys: own,
        priority_support: priority,
        invite_only: invite,
        monthly_credits: if credits < 0 { None } else { Some(whole_credits(credits)?) },
        calls: pricing,
        features: codes(features_of(code))?,
    };
    Ok((code.parse()?, terms))
}

/// Code, name, dollars a month, limits, features.
type AddOnRow = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, u64)],
    &'static [&'static str],
);

const ADD_ONS: &[AddOnRow] = &[
    (
        "tts",
        "TTS, Unicorn Orator",
        "9.99",
        &[("minutes", 10_000), ("languages", 30)],
        &["tts_enabled", "voice_cloning", "multi_language_tts", "ssml_support"],
    ),
    (
        "stt",
        "STT, Amanuensis",
        "9.99",
        &[("hours", 100), ("languages", 25)],
        &["stt_enabled", "speaker_diarization", "real_time_transcription", "multi_language_stt"],
    ),
    (
        "brigade",
        "Brigade, agent platform",
        "19.99",
        &[("agents", 10), ("tasks", 50), ("templates", 20)],
        &[
            "brigade_access",
            "agent_orchestration",
            "workflow_automation",
            "multi_agent_coordination",
        ],
    ),
    (
        "bolt",
        "Bolt, AI dev environment",
        "14.99",
        &[("gpu_hours", 20), ("storage_gb", 50), ("containers", 5), ("ci_minutes", 1_000)],
        &[
            "bolt_access",
            "code_generation",
            "ai_debugging",
            "github_integration",
            "container_deployment",
        ],
    ),
    (
        "presenton",
        "Presenton, presentations",
        "9.99",
        &[("presentations", 50), ("templates", 100), ("storage_gb", 10)],
        &["presenton_access", "ai_slide_generation", "template_library", "data_visualization"],
    ),
    (
        "center_deep_pro",
        "Center-Deep Pro, metasearch",
        "19.99",
        &[("queries", 10_000), ("documents", 100_000)],
        &[
            "center_deep_access",
            "semantic_search",
            "vector_embeddings",
            "ai_insights",
            "advanced_analytics",
        ],
    ),
    (
        "document_processing",
        "Document Processing",
        "12.99",
        &[("pages", 5_000), ("ocr_languages", 50)],
        &["document_processing", "ocr_enabled", "data_extraction", "document_classification"],
    ),
    (
        "vector_search",
        "Vector Search",
        "14.99",
        &[("vectors", 1_000_000), ("dimensions", 2_048), ("storage_gb", 100)],
        &["vector_search", "similarity_search", "embedding_storage", "hybrid_search"],
    ),
    (
        "gpu_compute",
        "GPU Compute",
        "49.99",
        &[("gpu_hours", 50), ("memory_gb", 80), ("jobs", 3), ("storage_gb", 500)],
        &["gpu_compute", "model_training", "high_performance_inference", "gpu_priority_queue"],
    ),
];

/// The published add-ons.
///
/// # Errors
/// A figure in this file cannot be read.
pub fn add_ons() -> Result<Vec<AddOnPublished>, Mistake> {
    ADD_ONS
        .iter()
        .map(|(code, name, price, limits, features)| {
            let limits = limits.iter().map(|(limit, value)| Ok((limit.parse::<Code>()?, *value)));
            Ok(AddOnPublished {
                add_on: code.parse()?,
                name: name.parse()?,
                price_month: dollars(price)?,
                limits: limits.collect::<Result<_, Mistake>>()?,
                features: codes(features)?,
            })
        })
        .collect()
}

/// The published credit packs. The largest is sold to two tiers only.
///
/// # Errors
/// A figure in this file cannot be read.
pub fn credit_packs() -> Result<Vec<CreditPackPublished>, Mistake> {
    let packs: [(&str, i64, &str, &[&str]); 4] = [
        ("credits-1000", 1_000, "10", &[]),
        ("credits-5000", 5_000, "45", &[]),
        ("credits-10000", 10_000, "80", &[]),
        ("credits-50000", 50_000, "350", &["professional", "enterprise"]),
    ];
    packs
        .iter()
        .map(|(code, credits, price, tiers)| {
            Ok(CreditPackPublished {
                credit_pack: code.parse()?,
                credits: whole_credits(*credits)?,
                price: dollars(price)?,
                tiers: codes(tiers)?,
            })
        })
        .collect()
}

/// Meter, how it adds up, unit, dollars for one unit on the rate card; an empty price means that
/// the meter is charged by the model's price list.
const METERS: &[(&str, Aggregation, &str, &str)] = &[
    ("api_calls", Aggregation::Count, "call", "0"),
    ("llm_tokens_input", Aggregation::Sum, "token", ""),
    ("llm_tokens_output", Aggregation::Sum, "token", ""),
    ("embedding_tokens", Aggregation::Sum, "token", "0.00001"),
    ("image_generations", Aggregation::Count, "image", "0.040"),
    ("stt_seconds", Aggregation::Sum, "second", "0.0001"),
    ("audio_input_seconds", Aggregation::Sum, "second", "0.0001"),
    ("audio_output_seconds", Aggregation::Sum, "second", "0.0001"),
    ("connection_seconds", Aggregation::Sum, "second", "0"),
    ("gpu_seconds", Aggregation::Sum, "second", "0"),
    ("compute_seconds", Aggregation::Sum, "second", "0"),
    ("tts_characters", Aggregation::Sum, "character", "0.000015"),
    ("concurrent_connections", Aggregation::Max, "connection", "0"),
    ("storage_byte_hours", Aggregation::Sum, "byte_hour", "0"),
    ("agent_runs", Aggregation::Count, "run", "0"),
    ("search_queries", Aggregation::Count, "query", "0.001"),
    ("connector_syncs", Aggregation::Count, "sync", "0"),
    ("emails_sent", Aggregation::Count, "email", "0"),
    ("pipeline_runs", Aggregation::Count, "run", "0"),
    ("pipeline_records", Aggregation::Sum, "record", "0"),
];

/// The meters.
///
/// # Errors
/// A figure in this file cannot be read.
pub fn meters() -> Result<Vec<MeterDefined>, Mistake> {
    METERS
        .iter()
        .map(|(code, aggregation, unit, _)| {
            let (meter, unit) = (code.parse()?, unit.parse()?);
            Ok(MeterDefined { meter, aggregation: *aggregation, unit })
        })
        .collect()
}

/// Dollars for 1,000 tokens by provider, for models that no price list has. Those of `local`,
/// `groq` and `huggingface` are free by decision.
const PROVIDERS: &[(&str, &str)] = &[
    ("local", "0"),
    ("groq", "0"),
    ("huggingface", "0"),
    ("together", "0.002"),
    ("fireworks", "0.002"),
    ("deepinfra", "0.003"),
    ("anthropic", "0.015"),
    ("openai", "0.015"),
    ("openrouter", "0.010"),
];

/// The first version of the rate card.
///
/// # Errors
/// A figure in this file cannot be read.
pub fn rates() -> Result<Rates, Mistake> {
    let power =
        [(PowerLevel::Eco, "0.1"), (PowerLevel::Balanced, "0.25"), (PowerLevel::Precision, "1")];
    let amount = |text: &str| Ok::<_, Mistake>(text.parse::<Amount>()?);
    Ok(Rates {
        effective_from: moment(FIRST)?,
        power: power
            .iter()
            .map(|(level, text)| Ok((*level, amount(text)?)))
            .collect::<Result<_, Mistake>>()?,
        provider_per_1000_tokens: PROVIDERS
            .iter()
            .map(|(code, text)| Ok((code.parse::<Code>()?, amount(text)?)))
            .collect::<Result<_, Mistake>>()?,
        unknown_per_1000_tokens: amount("0.010")?,
        meters: METERS
            .iter()
            .filter(|(.., price)| !price.is_empty())
            .map(|(code, .., price)| Ok((code.parse::<Code>()?, amount(price)?)))
            .collect::<Result<_, Mistake>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_figure_can_be_read() {
        assert_eq!(tiers().expect("tiers").len(), 11);
        assert_eq!(add_ons().expect("add-ons").len(), 9);
        assert_eq!(credit_packs().expect("packs").len(), 4);
        assert_eq!(meters().expect("meters").len(), 20);
        assert_eq!(rates().expect("rates").meters.len(), 18);
    }

    #[test]
    fn the_second_price_sheet_takes_effect_on_its_day() {
        assert_eq!(moment(FIRST).expect("a moment").to_string(), "2025-11-01 00:00:00 UTC");
        assert_eq!(moment(SECOND).expect("a moment").to_string(), "2026-06-24 00:00:00 UTC");
    }

    #[test]
    fn the_tiers_of_one_code_follow_each_other_as_versions() {
        use crate::aggregate::Aggregate;
        use crate::catalogue::tier::{Command, Tier};
        let mut managed = Tier::default();
        for (tier, terms) in tiers().expect("tiers") {
            if tier.as_str() == "managed" {
                let publish = Command::Publish { tier, terms: Box::new(terms) };
                for event in managed.decide(publish).expect("a version") {
                    managed = managed.evolve(&event);
                }
            }
        }
        let (version, terms) =
            managed.effective_at(moment(SECOND).expect("a moment")).expect("a version");
        assert_eq!((version, terms.seats), (2, 3));
    }
}
