//! `tracing` does not cross a cdylib by itself: each has its own dispatcher. This one forwards to the host.

use crate::abi::HostRef;
use abi_stable::std_types::RStr;
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::Attributes;
use tracing::{Event, Id, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Installs the forwarder. The level is pushed down, so what the host doesn't want costs nothing here.
pub(crate) fn install(host: HostRef) {
    let level = match host.max_level()() {
        0 => LevelFilter::OFF,
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::registry().with(Forward { host }.with_filter(level));
    // A plugin that has installed a subscriber of its own keeps it.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct Forward {
    host: HostRef,
}

/// A span's fields as text, kept with the span.
struct SpanText(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Forward {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut text = FieldText::default();
        attributes.record(&mut text);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanText(text.0));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut message = String::new();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            message.push_str(span.name());
            if let Some(SpanText(fields)) = span.extensions().get::<SpanText>().filter(|s| !s.0.is_empty()) {
                let _ = write!(message, "{{{}}}", fields.trim_start());
            }
            message.push_str(": ");
        }
        let mut text = FieldText::default();
        event.record(&mut text);
        message.push_str(text.0.trim_start());
        let level = match *event.metadata().level() {
            Level::ERROR => 1,
            Level::WARN => 2,
            Level::INFO => 3,
            Level::DEBUG => 4,
            Level::TRACE => 5,
        };
        (self.host.log())(
            level,
            RStr::from_str(event.metadata().target()),
            RStr::from_str(&message),
        );
    }
}

#[derive(Default)]
struct FieldText(String);

impl Visit for FieldText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = if field.name() == "message" {
            write!(self.0, " {value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}
