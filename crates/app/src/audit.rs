//! Commands about the audit trail, and the server's part in it: signing heads, verifying chains, handing records out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use clap::Subcommand;
use portal_audit::{
    Finding, Hash, Head, HeadSigner, Inspector, Link, SignHeads, SignHeadsError, SignedHead, SigningNews, Trail, Turn,
    Unreadable, Verdict,
};
use portal_authz::Principal;
use portal_kernel::{Clock, Timestamp};
use portal_postgres::PgStore;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::cli::{Failure, SettingsSource, explain, print};
use crate::head_keys::{Ed25519Signer, Ed25519Verifier};
use crate::operator::{self, operator};
use crate::settings::AuditSettings;
use crate::telemetry;
use crate::wire::Surroundings;

/// Target of the log lines that hold signed heads.
const TARGET: &str = "audit.head";

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Verify the chains: one line for each, which tells how much is signed for, and exit code 1 if anything is wrong
    Verify {
        /// Only this one: acc_… or platform
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<Trail>,
        /// Signed heads that were kept outside of the database, as JSON lines; a log in JSON will do
        #[arg(long, value_name = "FILE")]
        heads: Option<PathBuf>,
        #[command(flatten)]
        from: SettingsSource,
    },
    /// Print the records as JSON lines; exit code 1 if one cannot be read
    Export {
        /// Only of this one: acc_… or platform
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<Trail>,
        /// Only of this time or later, for example 2026-02-03T04:05:06Z
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        #[command(flatten)]
        from: SettingsSource,
    },
    /// Verify what grew, sign how far each chain has come, and print it as JSON lines; exit code 1 if something is wrong with a chain
    Sign {
        #[command(flatten)]
        from: SettingsSource,
    },
}

impl AuditCommand {
    fn source(&self) -> &SettingsSource {
        match self {
            Self::Verify { from, .. } | Self::Export { from, .. } | Self::Sign { from } => from,
        }
    }
}

/// Signs heads and tells each in the log, so that a copy outside of the database exists.
pub struct HeadSigning {
    sign_heads: SignHeads,
    public_key: String,
    every: Duration,
    clock: Arc<dyn Clock>,
    broken: AtomicUsize,
    last_signed: AtomicU64,
    last_turn: AtomicU64,
    last_round: AtomicU64,
}

/// What became of the chains that were looked at.
#[derive(Debug, Default)]
pub struct SigningRun {
    /// Signatures that were stored.
    pub signed: Vec<SignedHead>,
    /// Chains with which something is wrong.
    pub broken: Vec<(Trail, Finding)>,
    /// Chains that are so long that another run goes on with them.
    pub unfinished: usize,
    /// Whether all heads were looked at, in this run and those before it.
    pub is_round: bool,
}

impl HeadSigning {
    /// None if the settings hold no signing key.
    pub fn new(store: Arc<PgStore>, settings: &AuditSettings, surroundings: &Surroundings) -> Option<Self> {
        let signer = Ed25519Signer::new(settings)?;
        let public_key = signer.public_key();
        let signer: Arc<dyn HeadSigner> = Arc::new(signer);
        let verifier = Arc::new(Ed25519Verifier::new(settings));
        let clock = surroundings.clock.clone();
        Some(Self {
            sign_heads: SignHeads::new(store, signer, verifier, clock.clone()),
            public_key,
            every: settings.sign_every,
            clock,
            broken: AtomicUsize::default(),
            last_signed: AtomicU64::default(),
            last_turn: AtomicU64::default(),
            last_round: AtomicU64::default(),
        })
    }

    /// Verifies and signs what grew since it was last signed, and looks at some of what did not.
    pub async fn once(&self) -> Result<SigningRun, SignHeadsError> {
        let mut run = SigningRun::default();
        let tell = |news| match news {
            SigningNews::Signed(signed) => {
                let SignedHead { trail, head: Head { seq, hash }, at, signature } = &signed;
                let key = &self.public_key;
                tracing::info!(target: TARGET, %trail, seq, %hash, %at, %signature, key, "an audit trail has come this far");
                self.last_signed.store(seconds(*at), Ordering::Relaxed);
                run.signed.push(signed);
            }
            SigningNews::Broken { trail, finding } => {
                tracing::error!(%trail, %finding, "an audit trail is broken; run: portal audit verify");
                run.broken.push((trail, finding));
            }
        };
        let Turn { unfinished, is_round } = self.sign_heads.run(tell).await?;
        (run.unfinished, run.is_round) = (unfinished, is_round);
        self.broken.store(run.broken.len(), Ordering::Relaxed);
        let now = seconds(self.clock.now());
        self.last_turn.store(now, Ordering::Relaxed);
        if is_round {
            self.last_round.store(now, Ordering::Relaxed);
        }
        Ok(run)
    }

    /// When this process last signed a head, in seconds since 1970; 0 before the first.
    pub fn last_signed(&self) -> u64 {
        self.last_signed.load(Ordering::Relaxed)
    }

    /// When it last had signed all heads that it could.
    pub fn last_turn(&self) -> u64 {
        self.last_turn.load(Ordering::Relaxed)
    }

    /// When it last had looked at all heads, whatever is noted of them.
    pub fn last_round(&self) -> u64 {
        self.last_round.load(Ordering::Relaxed)
    }

    /// With how many chains something was wrong when this process last signed.
    pub fn broken(&self) -> u64 {
        u64::try_from(self.broken.load(Ordering::Relaxed)).unwrap_or(u64::MAX)
    }

    /// Signs again and again, for as long as the server runs. What a forger does between two runs is not told by a signature.
    pub async fn run(self: Arc<Self>) {
        let mut turns = interval_at(Instant::now() + self.every, self.every);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if let Err(error) = self.once().await {
                tracing::warn!(error = explain(&error), "the heads of the audit trails were not signed; trying again");
            }
        }
    }
}

fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.unix_seconds()).unwrap_or_default()
}

/// What the commands need.
pub struct AuditTools {
    /// Reads the chains.
    pub inspector: Inspector,
    /// Signs, where a key is at hand.
    pub signing: Option<Arc<HeadSigning>>,
}

impl AuditTools {
    /// With the keys of the settings.
    pub fn new(store: &Arc<PgStore>, settings: &AuditSettings, surroundings: &Surroundings) -> Self {
        let verifier = Arc::new(Ed25519Verifier::new(settings));
        let inspector = Inspector { chains: store.clone(), verifier };
        let signing = HeadSigning::new(store.clone(), settings, surroundings).map(Arc::new);
        Self { inspector, signing }
    }
}

pub(crate) async fn run(command: AuditCommand) -> Result<ExitCode, Failure> {
    let settings = operator::settings(command.source()).await?;
    telemetry::start(&settings.log);
    let keys = &settings.audit;
    if matches!(command, AuditCommand::Verify { .. }) && keys.signing_key.is_none() && keys.public_keys.is_empty() {
        return Err("no signature can be verified: set audit.public_keys, or audit.signing_key".into());
    }
    let store = Arc::new(PgStore::new(&settings.database)?);
    let tools = AuditTools::new(&store, keys, &Surroundings::default());
    let good = execute(command, &tools, &mut Terminal).await?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a command says.
#[derive(Default)]
pub struct Told {
    /// On standard output.
    pub text: String,
    /// On standard error.
    pub aside: String,
    /// Whether the exit code is 0.
    pub good: bool,
}

/// Runs `portal audit …`; `arguments` begins after `audit`.
pub async fn run_audit(arguments: &[&str], tools: &AuditTools) -> Result<Told, Failure> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: AuditCommand,
    }
    let line = <Line as clap::Parser>::try_parse_from(["audit"].iter().chain(arguments))?;
    let mut told = Told::default();
    told.good = execute(line.command, tools, &mut told).await?;
    Ok(told)
}

/// Where a command prints to.
trait Tell: Send {
    /// On standard output.
    fn tell(&mut self, text: &str) -> Result<(), Failure>;
    /// On standard error.
    fn warn(&mut self, text: &str) -> Result<(), Failure>;
}

struct Terminal;

impl Tell for Terminal {
    fn tell(&mut self, text: &str) -> Result<(), Failure> {
        print(text)
    }

    fn warn(&mut self, text: &str) -> Result<(), Failure> {
        Ok(std::io::Write::write_all(&mut std::io::stderr().lock(), text.as_bytes())?)
    }
}

impl Tell for Told {
    fn tell(&mut self, text: &str) -> Result<(), Failure> {
        self.text.push_str(text);
        Ok(())
    }

    fn warn(&mut self, text: &str) -> Result<(), Failure> {
        self.aside.push_str(text);
        Ok(())
    }
}

async fn execute(command: AuditCommand, tools: &AuditTools, out: &mut dyn Tell) -> Result<bool, Failure> {
    let who = operator(None).principal;
    match command {
        AuditCommand::Verify { account, heads, .. } => {
            let elsewhere = heads.as_deref().map(read_heads).transpose()?.unwrap_or_default();
            verify(tools, &who, account, &elsewhere, out).await
        }
        AuditCommand::Export { account, since, .. } => {
            let inspector = &tools.inspector;
            let mut good = true;
            for trail in trails(inspector, &who, account, BTreeSet::new()).await? {
                good &= export(inspector, &who, trail, since, out).await?;
            }
            Ok(good)
        }
        AuditCommand::Sign { .. } => {
            let signing = tools.signing.as_ref().ok_or("audit.signing_key is missing")?;
            let (mut broken, mut is_round) = (BTreeMap::new(), false);
            loop {
                let run = signing.once().await?;
                for signed in run.signed {
                    out.tell(&format!("{}\n", serde_json::to_string(&HeadLine::from(signed))?))?;
                }
                broken.extend(run.broken);
                is_round |= run.is_round;
                if run.unfinished == 0 && is_round {
                    break;
                }
            }
            for (trail, finding) in &broken {
                out.warn(&format!("{trail} is broken: {finding}\n"))?;
            }
            Ok(broken.is_empty())
        }
    }
}

/// The one that was asked for, which must be there; or the platform's, those of all accounts, and those that are known from elsewhere.
async fn trails(
    inspector: &Inspector,
    who: &Principal,
    only: Option<Trail>,
    mut trails: BTreeSet<Trail>,
) -> Result<BTreeSet<Trail>, Failure> {
    if let Some(only) = only {
        if let Trail::Account(account) = only
            && !trails.contains(&only)
            && !inspector.has_account(who, account).await?
        {
            return Err(format!("there is no account {account}").into());
        }
        return Ok(BTreeSet::from([only]));
    }
    trails.insert(Trail::Platform);
    let mut after = None;
    loop {
        let some = inspector.accounts(who, after).await?;
        let Some(last) = some.last() else { return Ok(trails) };
        after = Some(*last);
        trails.extend(some.into_iter().map(Trail::Account));
    }
}

async fn verify(
    tools: &AuditTools,
    who: &Principal,
    only: Option<Trail>,
    elsewhere: &BTreeMap<Trail, Vec<SignedHead>>,
    out: &mut dyn Tell,
) -> Result<bool, Failure> {
    let known = elsewhere.keys().copied().collect();
    let (mut wrong, mut unsigned) = (0_usize, 0_usize);
    let trails = trails(&tools.inspector, who, only, known).await?;
    for trail in &trails {
        let kept = elsewhere.get(trail).map(Vec::as_slice).unwrap_or_default();
        let Verdict { records, vouched, signed, finding } = tools.inspector.verify(who, *trail, kept).await?;
        let (word, says) = match finding {
            Some(finding) => {
                wrong += 1;
                ("FAIL", format!("{finding}; {records} records before that are good, {vouched} of them signed for"))
            }
            None if records == 0 => ("empty", "nothing was recorded".to_owned()),
            None if signed == 0 => {
                unsigned += 1;
                ("unsigned", format!("{records} records, no signed head yet"))
            }
            None => ("ok", format!("{records} records, {vouched} of them signed for by {signed} signed heads")),
        };
        out.tell(&format!("{word:<8}  {trail:<30}  {says}\n"))?;
    }
    out.tell(&format!(
        "{} chains verified, {wrong} with a finding, {unsigned} without any signed head\n",
        trails.len()
    ))?;
    Ok(wrong == 0)
}

/// One line of an export. Names are never changed; there may be more of them one day.
#[derive(Serialize)]
struct RecordLine {
    trail: String,
    seq: i64,
    id: String,
    at: String,
    actor: ActorLine,
    credential: Option<String>,
    action: String,
    subject: String,
    effect: String,
    closes: Option<String>,
    request_id: Option<String>,
    address_prefix: Option<String>,
    reason: Option<String>,
    hash: String,
}

#[derive(Serialize)]
struct ActorLine {
    kind: String,
    id: String,
    behind: Option<String>,
}

impl From<Link> for RecordLine {
    fn from(Link { seq, hash, entry }: Link) -> Self {
        Self {
            trail: entry.trail.to_string(),
            seq,
            id: entry.id.to_string(),
            at: entry.at.to_string(),
            actor: ActorLine { kind: entry.actor_kind, id: entry.actor_id, behind: entry.actor_behind },
            credential: entry.credential,
            action: entry.action,
            subject: entry.subject,
            effect: entry.effect,
            closes: entry.closes.map(|id| id.to_string()),
            request_id: entry.request_id.map(|id| id.to_string()),
            address_prefix: entry.address_prefix,
            reason: entry.reason,
            hash: hash.to_string(),
        }
    }
}

/// False if records could not be read.
async fn export(
    inspector: &Inspector,
    who: &Principal,
    trail: Trail,
    since: Option<Timestamp>,
    out: &mut dyn Tell,
) -> Result<bool, Failure> {
    let (mut after, mut good) = (None, true);
    loop {
        let records = inspector.records(who, trail, after, since).await?;
        if records.is_empty() {
            return Ok(good);
        }
        for record in records {
            match record {
                Ok(link) => {
                    after = Some((link.seq, link.entry.id));
                    out.tell(&format!("{}\n", serde_json::to_string(&RecordLine::from(link))?))?;
                }
                Err(Unreadable { seq, id }) => {
                    (after, good) = (Some((seq, id)), false);
                    out.warn(&format!("{trail}: record {seq} ({id}) cannot be read and is left out\n"))?;
                }
            }
        }
    }
}

/// A signed head, as the log and `portal audit sign` tell it.
#[derive(Serialize, Deserialize)]
struct HeadLine {
    trail: String,
    seq: i64,
    hash: String,
    at: String,
    signature: String,
}

impl From<SignedHead> for HeadLine {
    fn from(SignedHead { trail, head, at, signature }: SignedHead) -> Self {
        Self {
            trail: trail.to_string(),
            seq: head.seq,
            hash: head.hash.to_string(),
            at: at.to_string(),
            signature: signature.to_string(),
        }
    }
}

impl HeadLine {
    fn parse(self) -> Result<SignedHead, Failure> {
        let hash: Hash = self.hash.parse()?;
        if self.seq < 1 {
            return Err("seq counts from 1".into());
        }
        Ok(SignedHead {
            trail: self.trail.parse()?,
            head: Head { seq: self.seq, hash },
            at: self.at.parse()?,
            signature: self.signature.parse()?,
        })
    }
}

/// Signed heads by trail. Log lines about anything else are passed over; a line that says it is one and is not is an error, because
/// what it said would be missed.
fn read_heads(path: &Path) -> Result<BTreeMap<Trail, Vec<SignedHead>>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut heads: BTreeMap<Trail, Vec<SignedHead>> = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let read = || -> Result<Option<SignedHead>, Failure> {
            let line: serde_json::Value = serde_json::from_str(line)?;
            if line.get("target").is_some_and(|target| target != TARGET) {
                return Ok(None);
            }
            Ok(Some(serde_json::from_value::<HeadLine>(line)?.parse()?))
        };
        match read() {
            Ok(Some(signed)) => heads.entry(signed.trail).or_default().push(signed),
            Ok(None) => {}
            Err(error) => return Err(format!("{} line {number} is no signed head: {error}", path.display()).into()),
        }
    }
    // Whoever gives a file means to compare with it.
    if heads.is_empty() {
        return Err(format!("{} holds no signed head", path.display()).into());
    }
    Ok(heads)
}
