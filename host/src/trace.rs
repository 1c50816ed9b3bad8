//! Traces: spans go to an OpenTelemetry collector, if one is configured. The spans are those of the
//! path's words that every module opens; nothing else leaves the process.

use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::egress::Direct;

/// A collector that takes longer to answer loses what it was sent.
const TIMEOUT: Duration = Duration::from_secs(10);

/// At shutdown, what is left is sent so long.
const FLUSH_MAX: Duration = Duration::from_secs(3);

/// Where spans go.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins to send to the collector at this URL, by OTLP over HTTP. Needs a tokio runtime.
    ///
    /// # Errors
    /// The URL isn't one, or TLS can't be set up.
    pub fn begin(otlp_endpoint: &str, direct: Direct) -> anyhow::Result<Self> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector { direct, runtime: Handle::current() })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", otlp_endpoint.trim_end_matches('/')))
            .with_timeout(TIMEOUT)
            .build()
            .with_context(|| format!("trace.otlp_endpoint {otlp_endpoint:?}"))?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name("rowgate").with_attribute(version);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Ok(Self(provider))
    }

    /// What hands it the spans. Only our own: those of the client that sends them would be sent too,
    /// and so on without end.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync + 'static,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("rowgate"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(Targets::new().with_target("rowgate", Level::DEBUG))
    }

    /// Sends what is left.
    pub async fn end(self) {
        // It waits for its own thread, which needs this runtime.
        let flushed = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH_MAX));
        match flushed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces may be lost"),
            Err(error) => tracing::warn!(%error, "the last traces may be lost"),
        }
    }
}

/// The exporter's way out.
#[derive(Debug)]
struct Collector {
    direct: Direct,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Collector {
    /// The exporter asks on a thread of its own, outside the runtime.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let direct = self.direct.clone();
        Ok(self.runtime.spawn(async move { direct.send(request, TIMEOUT).await }).await??)
    }
}
