//! `portal dev`: the whole product in one command, without any configuration.
//!
//! A private database and a local identity provider stand in for the real ones; everything else is the production program.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use portal_dev_idp::{DevIdp, DevIdpError, Instance, Person, SigningKey, TokenMint, people, refuse_live_keys};
use portal_dev_postgres::{DevPostgres, state_dir};
use portal_kernel::{Clock, Entropy, IdGen};
use portal_postgres::testing::ensure_database;
use portal_postgres::{PgTarget, migrate};

use crate::cli::{Failure, print};
use crate::serve::{Mount, ServeError, bind};
use crate::settings::{Environment, OperatorSettings, Settings, process_environment};
use crate::system::{OsEntropy, SystemClock, V7Ids};
use crate::telemetry;
use crate::wire::{Surroundings, wire};

const DATABASE: &str = "portal_dev";

/// Where `portal dev` listens unless told otherwise.
const DEFAULT_PORT: u16 = 8080;

/// Files of the development secrets.
const PEPPER: &str = "pepper";
const SIGNING_KEY: &str = "audit-signing-key";

#[derive(Args)]
pub(crate) struct DevArgs {
    /// Port on localhost
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Start from nothing: delete the development database and keys first
    #[arg(long)]
    reset: bool,
    #[command(subcommand)]
    command: Option<DevCommand>,
}

#[derive(Subcommand)]
enum DevCommand {
    /// Print a fresh session token of a sample person, alone on the last line
    Token {
        /// alice, adam, edith, victor or stranger
        name: String,
        /// Origin that the token is minted for
        #[arg(long, default_value = "http://localhost:8080")]
        origin: String,
    },
    /// Stop the development database
    Stop,
}

pub(crate) async fn run(arguments: DevArgs) -> Result<(), Failure> {
    match arguments.command {
        Some(DevCommand::Token { name, origin }) => token(&name, &origin),
        Some(DevCommand::Stop) => {
            let stopped = portal_dev_postgres::stop(&checkout())?;
            print(if stopped {
                "the development database is stopped\n"
            } else {
                "the development database was not running\n"
            })
        }
        None => everything(arguments.port, arguments.reset).await,
    }
}

/// The checkout this program was built from: two of them never share a database.
fn checkout() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}

fn token(name: &str, origin: &str) -> Result<(), Failure> {
    let person = people::person(name).ok_or_else(|| DevIdpError::unknown_person(name))?;
    let mint = TokenMint::new(SigningKey::load_or_create(&state_dir(&checkout())?.join("identity-provider.pem"))?);
    print(&format!("{}\n", mint.session_token(&in_new_session(person), origin, SystemClock.now())))
}

/// A session that never was before: the database outlives the provider, and remembers for good which sessions ended.
fn in_new_session(person: Person) -> Person {
    Person { session_id: format!("sess_dev_{}", V7Ids.uuid().simple()), ..person }
}

async fn everything(port: u16, reset: bool) -> Result<(), Failure> {
    let say = |line: &str| {
        let _ = std::io::Write::write_fmt(&mut std::io::stderr().lock(), format_args!("{line}\n"));
    };
    if reset {
        portal_dev_postgres::reset(&checkout())?;
        say("deleted the development database and keys");
    }
    let environment = process_environment();
    let provider_settings = ["CLERK_SECRET_KEY", "CLERK_PUBLISHABLE_KEY"];
    refuse_live_keys(provider_settings.iter().filter_map(|name| Some((*name, environment.0.get(*name)?.as_str()))))?;
    let state = state_dir(&checkout())?;
    let key = Arc::new(SigningKey::load_or_create(&state.join("identity-provider.pem"))?);
    let (server, database) = if let Some(url) = environment.given("DATABASE_URL") {
        (None, url.to_owned())
    } else {
        let (server, url) = database(&say).await?;
        (Some(server), url)
    };
    let settings = settings(&environment, &database, &Instance::of(&key), port)?;
    DevIdp::check_bind(settings.http.bind)?;
    telemetry::start(&settings.log);
    migrate(&settings.database.target).await?;
    let (http, metrics) = (settings.http.clone(), settings.metrics.clone());
    let wired = wire(settings, &Surroundings::default())?;
    let idp = DevIdp::new(key, Arc::new(SystemClock));
    for person in idp.people() {
        idp.add_person(in_new_session(person));
    }
    idp.send_webhooks_to(&format!("http://127.0.0.1:{port}/webhooks/clerk"))?;
    let mount: Mount = Arc::new(move |config| portal_dev_idp::configure(&idp)(config));
    let bound = bind(&wired, &http, &metrics, Some(mount)).map_err(|error| match error {
        ServeError::Bind { address, source } if source.kind() == std::io::ErrorKind::AddrInUse => {
            Failure::from(format!("port {} is in use; choose another: cargo run -- dev --port 8090", address.port()))
        }
        error => error.into(),
    })?;
    print(&welcome(port))?;
    let outcome = bound.run().await;
    if let Some(server) = server
        && server.stop_if_unused()?
    {
        say("the development database is stopped; its data stays");
    }
    Ok(outcome?)
}

/// The private server with an existing database on it.
async fn database(say: &dyn Fn(&str)) -> Result<(DevPostgres, String), Failure> {
    let server = DevPostgres::start(&checkout(), say)?;
    ensure_database(&server.url("postgres"), DATABASE).await?;
    let url = server.url(DATABASE);
    Ok((server, url))
}

/// Production settings with development values. The environment may change what is not the identity provider's.
fn settings(environment: &Environment, database: &str, instance: &Instance, port: u16) -> Result<Settings, Failure> {
    let origin = format!("http://localhost:{port}");
    let defaults = [
        ("PORTAL_METRICS__OPEN", "true".to_owned()),
        ("PORTAL_KEYS__PEPPERS__1", secret(PEPPER)?),
        ("PORTAL_AUDIT__SIGNING_KEY", secret(SIGNING_KEY)?),
        ("PORTAL_PUBLIC_URL", origin.clone()),
        ("DATABASE_URL", database.to_owned()),
    ];
    // Whoever reaches the provider can sign in as anybody: where the program listens is not for the environment to say.
    let fixed = [
        ("PORTAL_HTTP__BIND", format!("127.0.0.1:{port}")),
        ("CLERK_PUBLISHABLE_KEY", instance.publishable_key().to_owned()),
        ("CLERK_SECRET_KEY", instance.secret_key().to_owned()),
        ("CLERK_WEBHOOK_SIGNING_SECRET", instance.webhook_secret().to_owned()),
        ("CLERK_API_URL", format!("http://127.0.0.1:{port}{}", portal_dev_idp::PATH)),
        ("CLERK_SIGN_IN_URL", format!("{origin}{}", portal_dev_idp::PATH)),
        ("CLERK_PROXY_URL", portal_dev_idp::PATH.to_owned()),
    ];
    let own = |(name, value): (&str, String)| (name.to_owned(), value);
    let mut variables: BTreeMap<String, String> = defaults.into_iter().map(own).collect();
    let of_provider = |name: &str| name.starts_with("CLERK_") || name.starts_with("PORTAL_CLERK__");
    let given = environment.0.iter().filter(|(name, value)| !of_provider(name) && !value.is_empty());
    variables.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    variables.extend(fixed.into_iter().map(own));
    Ok(Settings::load(None, &Environment(variables))?)
}

/// Settings of the server that `portal dev` runs on the usual port, for an operator's command that speaks to its identity provider.
pub(crate) async fn server_settings(environment: &Environment) -> Result<Settings, Failure> {
    let key = SigningKey::load_or_create(&state_dir(&checkout())?.join("identity-provider.pem"))?;
    let url = match environment.given("DATABASE_URL") {
        Some(url) => url.to_owned(),
        None => database(&|_| ()).await?.1,
    };
    settings(environment, &url, &Instance::of(&key), DEFAULT_PORT)
}

/// Settings of an operator's command in development: the development secrets, and the database of the environment or the development
/// database, which is started if needed and keeps running.
pub(crate) async fn operator_settings(environment: &Environment) -> Result<OperatorSettings, Failure> {
    let url = match environment.given("DATABASE_URL") {
        Some(url) => url.to_owned(),
        None => database(&|_| ()).await?.1,
    };
    migrate(&PgTarget::parse(&url)?).await?;
    let mut variables = environment.0.clone();
    variables.insert("PORTAL_KEYS__PEPPERS__1".to_owned(), secret(PEPPER)?);
    if environment.given("PORTAL_AUDIT__SIGNING_KEY").is_none() {
        variables.insert("PORTAL_AUDIT__SIGNING_KEY".to_owned(), secret(SIGNING_KEY)?);
    }
    variables.insert("DATABASE_URL".to_owned(), url);
    Ok(OperatorSettings::load(None, &Environment(variables))?)
}

/// A development secret, made at first use.
fn secret(name: &str) -> Result<String, Failure> {
    secret_in(&state_dir(&checkout())?.join(name))
}

/// 32 random bytes in base64, made at first use in a file that only its owner can read.
fn secret_in(path: &Path) -> Result<String, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut bytes = [0; 32];
            OsEntropy.fill(&mut bytes);
            // Written aside and linked into place, so that programs that start together agree on one.
            let aside = path.with_extension(std::process::id().to_string());
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
            std::io::Write::write_all(&mut file, STANDARD.encode(bytes).as_bytes())?;
            let linked = std::fs::hard_link(&aside, path);
            std::fs::remove_file(&aside)?;
            match linked {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
                _ => secret_in(path),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn welcome(port: u16) -> String {
    let origin = if port == DEFAULT_PORT { String::new() } else { format!(" --origin http://localhost:{port}") };
    format!(
        "
portal is ready: http://localhost:{port}

  Sample people   alice (owner of Acme), adam (admin), edith (editor), victor (viewer), stranger (alone)
  Their login     http://localhost:{port}/__clerk
  The API         http://localhost:{port}/openapi.json

Try, in another terminal:

  TOKEN=$(cargo run -q -- dev token alice{origin})
  curl -s http://localhost:{port}/v1/me -H \"Authorization: Bearer $TOKEN\"

The tour in README.md goes on from there. Ctrl-C stops everything; the data stays.

"
    )
}
