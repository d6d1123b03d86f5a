//! Asking a witness for a cosignature, over HTTP.
//!
//! Without TLS: what is sent is public and signed, and what comes back is verified before it is
//! believed. Whoever sits in between can only keep a cosignature from us.

use event_log::evidence::Hash;
use event_log::note::{Note, NoteError, Signature};
use event_log::witness::{AddCheckpoint, Cosigned, Witness, WitnessAddress, WitnessError};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use std::time::Duration;

/// How long a witness may take to be reached, and to answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// More than any answer of the form.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How much of what a witness says is passed on.
const MESSAGE_LETTERS_MAX: usize = 200;

/// One witness that is asked over HTTP.
#[derive(Clone, Debug)]
pub struct WitnessClient {
    client: Client,
    witness: WitnessAddress,
    endpoint: Url,
}

impl WitnessClient {
    /// A client for a witness; nothing is asked yet.
    ///
    /// # Errors
    /// [`WitnessError::Address`] for an address that is none, or not `http://`.
    pub fn new(witness: WitnessAddress) -> Result<Self, WitnessError> {
        let address = || WitnessError::Address { url: witness.url.clone() };
        let text = format!("{}/add-checkpoint", witness.url.trim_end_matches('/'));
        let endpoint = Url::parse(&text).map_err(|_| address())?;
        if endpoint.scheme() != "http" || endpoint.query().is_some() {
            return Err(address());
        }
        let client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .timeout(ANSWER_LIMIT)
            .build()
            .map_err(|source| WitnessError::Unreachable {
                url: witness.url.clone(),
                source: source.into(),
            })?;
        Ok(Self { client, witness, endpoint })
    }

    /// Which witness this is.
    #[must_use]
    pub fn witness(&self) -> &WitnessAddress {
        &self.witness
    }

    async fn ask(&self, body: String) -> Result<(StatusCode, bool, String), WitnessError> {
        let request = self.client.post(self.endpoint.clone()).body(body);
        let mut response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let kind = response.headers().get(CONTENT_TYPE);
        let is_size = kind.is_some_and(|kind| kind.as_bytes() == b"text/x.tlog.size");
        let body = self.read(&mut response).await?;
        Ok((status, is_size, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn read(&self, response: &mut Response) -> Result<Vec<u8>, WitnessError> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(self.answer(NoteError::Note("the answer is too long")));
            }
        }
        Ok(body)
    }

    /// The lines of the answer that are its own, and right.
    fn verified(&self, note: &Note, answer: &str) -> Result<Cosigned, NoteError> {
        let known = |line: &Signature| self.witness.keys.iter().any(|key| key.is_named(line));
        let lines = Signature::parse_lines(answer)?.into_iter().filter(known);
        let lines: Vec<Signature> = lines.collect();
        if lines.is_empty() {
            return Err(NoteError::NotSigned);
        }
        Note::new(note.text(), lines.clone())?.verify(&self.witness.keys)?;
        Ok(Cosigned { lines: lines.iter().map(ToString::to_string).collect() })
    }

    fn unreachable(&self, source: reqwest::Error) -> WitnessError {
        WitnessError::Unreachable { url: self.witness.url.clone(), source: source.into() }
    }

    fn answer(&self, source: NoteError) -> WitnessError {
        WitnessError::Answer { url: self.witness.url.clone(), source }
    }
}

impl Witness for WitnessClient {
    async fn add_checkpoint(
        &self,
        old: u64,
        proof: &[Hash],
        note: &str,
    ) -> Result<Cosigned, WitnessError> {
        let note: Note = note.parse().map_err(|error| self.answer(error))?;
        let body = AddCheckpoint { old, proof: proof.to_vec(), note: note.clone() }.to_string();
        let (status, is_size, said) = self.ask(body).await?;
        let url = || self.witness.url.clone();
        if status == StatusCode::OK {
            return self.verified(&note, &said).map_err(|source| self.answer(source));
        }
        let size = said.trim_end().parse().ok().filter(|_| is_size);
        match (status, size) {
            (StatusCode::CONFLICT, Some(size)) => Err(WitnessError::Conflict { url: url(), size }),
            _ => {
                let visible = said.trim_end().chars().filter(|letter| !letter.is_control());
                let message = visible.take(MESSAGE_LETTERS_MAX).collect();
                Err(WitnessError::Refused { url: url(), status: status.as_u16(), message })
            }
        }
    }
}
