//! Counters of the HTTP faces, and the text that a Prometheus server reads.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use portal_api_keys::DelayCounts;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Up only, until the program ends.
    Counter,
    /// Up and down.
    Gauge,
}

impl MetricKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// A number that somebody else keeps, read when the metrics are.
#[derive(Clone)]
pub struct Metric {
    /// Prometheus name.
    pub name: &'static str,
    /// How it moves.
    pub kind: MetricKind,
    /// What it tells.
    pub help: &'static str,
    /// Reads it.
    pub read: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// Times that somebody else counts, read when the metrics are.
#[derive(Clone)]
pub struct DelayMetric {
    /// Prometheus name.
    pub name: &'static str,
    /// What it tells.
    pub help: &'static str,
    /// Reads them.
    pub read: Arc<dyn Fn() -> DelayCounts + Send + Sync>,
}

impl DelayMetric {
    fn render(&self, text: &mut String) {
        let Self { name, help, read } = self;
        let DelayCounts { up_to, all, sum } = read();
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (milliseconds, count) in up_to {
            let bound = Duration::from_millis(milliseconds).as_secs_f64();
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let sum = sum.as_secs_f64();
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {all}\n{name}_sum {sum}\n{name}_count {all}");
    }
}

/// Request counters and times. One per process.
pub struct HttpMetrics {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    others: Vec<Metric>,
    delays: Vec<DelayMetric>,
}

impl HttpMetrics {
    /// Starts at zero.
    pub fn new(others: Vec<Metric>, delays: Vec<DelayMetric>) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let requests = IntCounterVec::new(
            Opts::new("portal_http_requests_total", "Requests answered, by route and class of status."),
            &["method", "route", "status"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new("portal_http_request_seconds", "Time from reading the head of a request to its answer.")
                .buckets(vec![
                    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
                ]),
            &["method", "route"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self { registry, requests, seconds, others, delays })
    }

    pub(crate) fn endpoint(&self, method: &str, route: &str) -> Arc<EndpointMetrics> {
        let class = |status: &str| self.requests.with_label_values(&[method, route, status]);
        Arc::new(EndpointMetrics {
            by_class: [class("1xx"), class("2xx"), class("3xx"), class("4xx"), class("5xx")],
            seconds: self.seconds.with_label_values(&[method, route]),
        })
    }

    /// The exposition format of Prometheus, version 0.0.4.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory cannot fail, and the names were checked at registration.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        let mut text = String::from_utf8(text).unwrap_or_default();
        for metric in &self.others {
            let Metric { name, kind, help, read } = metric;
            let kind = kind.as_str();
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}", read());
        }
        for delays in &self.delays {
            delays.render(&mut text);
        }
        text
    }
}

/// The counters of one endpoint, looked up once and not per request.
pub(crate) struct EndpointMetrics {
    by_class: [IntCounter; 5],
    seconds: Histogram,
}

impl EndpointMetrics {
    pub(crate) fn record(&self, status: StatusCode, elapsed: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.by_class[class].inc();
        self.seconds.observe(elapsed.as_secs_f64());
    }
}
