//! `/log/v1/…`: the evidence of the log, in the forms of C2SP's tlog-tiles, so that existing tools
//! read it.
//!
//! * `checkpoint`, `checkpoints/<size>`: signed notes, with what witnesses signed.
//! * `tile/<level>/<index>[.p/<width>]`: hashes. `keys`: what verifies the signatures.
//! * `tile/entries/<index>[.p/<width>]`: entries, for whoever may read everybody's audit trail:
//!   they name nobody, but tell when somebody was busy.
//! * `bodies/<index>[.p/<width>]`: what the entries are about, as far as the caller may read it.
//!
//! Nothing is served that no checkpoint covers: what is served can be proved, and is on disk. What
//! is full never changes and may be kept by whoever fetched it.

use super::App;
use super::about::problem_body;
use super::asker::asking;
use crate::problem::{Code, Problem};
use crate::reading::Asking;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::access::Resource;
use domain::values::OrganizationId;
use event_log::Position;
use event_log::tree::entry::bundle;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// How many events a full tile of leaves has.
const WIDTH: u64 = 256;

/// Which tile: its number, and how many of its hashes or entries.
struct Tile {
    index: u64,
    width: u64,
}

impl Tile {
    /// Reads `x001/x234/067` or `x001/x234/067.p/8`.
    fn read(path: &str) -> Option<Self> {
        let (path, width) = match path.split_once(".p/") {
            Some((path, width)) => {
                let number: u64 = width.parse().ok()?;
                let is_plain = number.to_string() == width && (1..WIDTH).contains(&number);
                (path, is_plain.then_some(number)?)
            }
            None => (path, WIDTH),
        };
        let mut parts = path.split('/').peekable();
        let (mut index, mut is_first) = (0_u64, true);
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            let digits = if is_last { part } else { part.strip_prefix('x')? };
            let is_plain = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
            // No leading group of zeros: every tile has one name.
            if !is_plain || (is_first && !is_last && digits == "000") {
                return None;
            }
            index = index.checked_mul(1_000)?.checked_add(digits.parse().ok()?)?;
            is_first = false;
        }
        Some(Self { index, width })
    }

    /// Whether a tree of a size has so much of it on a level.
    fn is_within(&self, level: u8, size: u64) -> bool {
        let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or_default();
        let end = self.index.checked_mul(WIDTH).and_then(|start| start.checked_add(self.width));
        end.is_some_and(|end| end <= hashes)
    }

    fn cache(&self) -> HeaderValue {
        HeaderValue::from_static(if self.width == WIDTH {
            // Not for ever: after a restore another epoch has other tiles under the same names.
            "public, max-age=300"
        } else {
            "public, max-age=60"
        })
    }
}

fn refuse(problem: &Problem) -> Response {
    let mut response = (problem.code.status(), problem_body(problem)).into_response();
    if problem.code == Code::Unavailable {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn nothing(what: &str) -> Problem {
    Problem::new(Code::NotFound, format!("{what}; the newest is at /log/v1/checkpoint"))
}

fn text(body: String, cache: HeaderValue) -> Response {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], body).into_response()
}

fn bytes(body: impl Into<Bytes>, cache: HeaderValue) -> Response {
    let kind = HeaderValue::from_static("application/octet-stream");
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)];
    (headers, body.into()).into_response()
}

fn answer(result: Result<Response, Problem>) -> Response {
    result.unwrap_or_else(|problem| refuse(&problem))
}

/// Up to where checkpoints were signed.
async fn signed_size(app: &App) -> Result<u64, Problem> {
    Ok(app.services.log().newest_checkpoint().await?.map_or(0, |newest| newest.size))
}

/// The newest checkpoint.
pub(crate) async fn checkpoint(State(app): State<App>) -> Response {
    answer(match app.services.log().newest_checkpoint().await {
        Ok(Some(newest)) => Ok(text(newest.note, HeaderValue::from_static("no-cache"))),
        Ok(None) => Err(Problem::new(Code::NotFound, "no checkpoint was signed yet")),
        Err(error) => Err(error.into()),
    })
}

/// The checkpoint of a size.
pub(crate) async fn checkpoint_of(State(app): State<App>, Path(size): Path<u64>) -> Response {
    answer(match app.services.log().checkpoint_of(size).await {
        // Witnesses may still sign it.
        Ok(Some(found)) => Ok(text(found.note, HeaderValue::from_static("no-cache"))),
        Ok(None) => Err(nothing("there is no checkpoint of that size")),
        Err(error) => Err(error.into()),
    })
}

/// What verifies every checkpoint: one verifier key a line.
pub(crate) async fn keys(State(app): State<App>) -> Response {
    let Some(evidence) = &app.services.evidence else {
        return refuse(&Problem::new(Code::NotFound, "this server signs no checkpoints"));
    };
    let keys = evidence.keys.verifier_keys();
    let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
    text(lines, HeaderValue::from_static("no-cache"))
}

/// Hashes of a tile.
pub(crate) async fn tile(
    State(app): State<App>,
    Path((level, path)): Path<(u8, String)>,
) -> Response {
    answer(hashes(&app, level, &path).await)
}

async fn hashes(app: &App, level: u8, path: &str) -> Result<Response, Problem> {
    let asked = Tile::read(path).filter(|_| level < 8).ok_or_else(malformed)?;
    let missing = || nothing("no checkpoint covers that tile");
    if !asked.is_within(level, signed_size(app).await?) {
        return Err(missing());
    }
    let width = usize::try_from(asked.width).unwrap_or_default();
    let hashes = app.services.log().tile(level, asked.index, width).await?;
    Ok(bytes(hashes.ok_or_else(missing)?.concat(), asked.cache()))
}

/// Entries of a tile of leaves.
pub(crate) async fn entries(
    State(app): State<App>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let entries = async {
        asking(&app, &parts).await?.may_read(Resource::Audit).await?;
        let asked = leaves(&app, &path).await?;
        let mut entries = app.services.log().entries(asked.index).await?;
        entries.truncate(usize::try_from(asked.width).unwrap_or_default());
        Ok(bytes(bundle(&entries), HeaderValue::from_static("private, max-age=60")))
    };
    answer(entries.await)
}

async fn leaves(app: &App, path: &str) -> Result<Tile, Problem> {
    let asked = Tile::read(path).ok_or_else(malformed)?;
    if !asked.is_within(0, signed_size(app).await?) {
        return Err(nothing("no checkpoint covers that tile"));
    }
    Ok(asked)
}

fn malformed() -> Problem {
    Problem::new(Code::NotFound, "name a tile as tlog-tiles does: x001/234, or x001/234.p/56")
}

/// Headers and bodies of the events of a tile of leaves.
pub(crate) async fn bodies(
    State(app): State<App>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let bodies = async {
        let asking = asking(&app, &parts).await?;
        asking.signed_in()?;
        let place = app.bodies.take()?;
        let asked = leaves(&app, &path).await?;
        let first = i64::try_from(asked.index * WIDTH).unwrap_or(i64::MAX);
        let width = usize::try_from(asked.width).unwrap_or_default();
        let body = visible(&asking, Position(first), width).await?;
        Ok(bytes(
            Bytes::from_owner(Placed { body, _place: place }),
            HeaderValue::from_static("private, no-store"),
        ))
    };
    answer(bodies.await)
}

/// How many answers with bodies are made and sent at once. A tile of events that are as large as
/// they may be weighs some hundred megabytes, and it costs little to ask for it.
const BODIES_AT_ONCE: usize = 4;

/// The places of those answers.
#[derive(Clone)]
pub(crate) struct BodyPlaces(Arc<Semaphore>);

impl Default for BodyPlaces {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BODIES_AT_ONCE)))
    }
}

impl BodyPlaces {
    fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let busy = "as many bodies as can be are being fetched just now; ask again in a second";
        let place = Arc::clone(&self.0).try_acquire_owned();
        place.map_err(|_| Problem::new(Code::Unavailable, busy))
    }
}

/// What is sent; its place is free when the last of it was let go.
struct Placed {
    body: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

const NOT_SHOWN: [u8; 4] = u32::MAX.to_be_bytes();

/// Each event as five fields, each after its length in four bytes: the header that is hashed, the
/// payload's salt, the payload, the salt of the meta bytes, and these. A field that is not there,
/// or not for this reader, has the length ff ff ff ff, and its body is not even loaded.
async fn visible(asking: &Asking, after: Position, width: usize) -> Result<Vec<u8>, Problem> {
    let log = asking.services.log();
    let owners = log.owners(after, width).await?;
    let reads_all = asking.reads_all(Resource::Audit).await?;
    let mut may: HashMap<Uuid, bool> = HashMap::new();
    for (_, tenant) in &owners {
        if !may.contains_key(tenant) {
            may.insert(*tenant, reads_all || sees(asking, *tenant).await?);
        }
    }
    let is_visible = |tenant| may.get(tenant).copied().unwrap_or_default();
    let shown = owners.iter().filter(|(_, tenant)| is_visible(tenant));
    let shown: Vec<i64> = shown.map(|(position, _)| *position).collect();
    let mut rows = log.raw_rows_at(&shown).await?.into_iter().peekable();
    let mut body = Vec::new();
    for (position, _) in owners {
        let Some(row) = rows.next_if(|row| row.position == position) else {
            body.extend_from_slice(&NOT_SHOWN.repeat(5));
            continue;
        };
        let header = row.header_bytes();
        for field in [&header, &row.payload_salt, &row.payload, &row.meta_salt, &row.meta] {
            let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(field);
        }
    }
    Ok(body)
}

/// Whether who may not read everybody's audit trail may read this organization's.
async fn sees(asking: &Asking, tenant: Uuid) -> Result<bool, Problem> {
    if tenant.is_nil() {
        return Ok(false);
    }
    match asking.may_read_of(OrganizationId::new(tenant), Resource::Audit).await {
        Ok(()) => Ok(true),
        Err(problem) if problem.is_denial() => Ok(false),
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::Tile;

    fn read(path: &str) -> Option<(u64, u64)> {
        Tile::read(path).map(|tile| (tile.index, tile.width))
    }

    #[test]
    fn every_tile_has_one_name() {
        assert_eq!(read("000"), Some((0, 256)));
        assert_eq!(read("067.p/8"), Some((67, 8)));
        assert_eq!(read("x001/x234/067"), Some((1_234_067, 256)));
        assert_eq!(read("x001/x234/067.p/255"), Some((1_234_067, 255)));
        for wrong in [
            "",
            "0",
            "1234",
            "x001",
            "001/234",
            "x000/001",
            "x001/234.p/0",
            "x001/234.p/256",
            "x001/234.p/08",
            "x001/234.p/",
            "x001/234/",
            "-01",
            "x18446744073709551616/000",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nothing_beyond_a_size_is_within_it() {
        let within = |path, level, size| Tile::read(path).unwrap().is_within(level, size);
        assert!(within("000", 0, 256) && !within("000", 0, 255));
        assert!(within("001.p/3", 0, 259) && !within("001.p/4", 0, 259));
        assert!(within("000.p/1", 1, 256) && !within("000.p/1", 1, 255));
        assert!(!within("x999/x999/x999/x999/x999/999", 0, u64::MAX));
    }
}
