//! Logs, on standard error. Standard output belongs to what commands print.

use std::io::Write;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{LogFormat, LogSettings};

/// Libraries that would write request heads or statement parameters into the log when asked for everything. Their own warnings and
/// errors still come through.
const QUIETED: [&str; 8] = [
    // What a client sends wrong is the client's fault, and no error of ours.
    "actix_http=off",
    "actix_server=warn",
    "h2=warn",
    "hyper=warn",
    "hyper_util=warn",
    "reqwest=warn",
    "rustls=warn",
    "tokio_postgres=warn",
];

/// Starts logging for the whole process. Only the first call counts.
pub fn start(settings: &LogSettings) {
    let _ = subscriber(settings, std::io::stderr).try_init();
}

/// The subscriber, writing where it is told to.
pub fn subscriber<W>(settings: &LogSettings, writer: W) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = QUIETED
        .iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(EnvFilter::builder().parse_lossy(&settings.filter), EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(OneLine(writer)).with_ansi(false);
    match settings.format {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    }
}

/// Writes each event on one line of printable text, whatever its fields hold: what a tenant wrote can neither command the terminal that
/// shows the log nor forge a line of it.
struct OneLine<W>(W);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLine<M> {
    type Writer = OneLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

impl<W: Write> Write for OneLine<W> {
    /// Takes whole events, each with its line end, as `tracing_subscriber` hands them over.
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = text.strip_suffix('\n').map_or((&*text, ""), |line| (line, "\n"));
        if line.contains(char::is_control) {
            let escape = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
            self.0.write_all(line.chars().map(escape).collect::<String>().as_bytes())?;
        } else {
            self.0.write_all(line.as_bytes())?;
        }
        self.0.write_all(end.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
