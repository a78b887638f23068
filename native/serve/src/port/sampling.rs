//! Which calls are traced: what their callers say, else a share of them.

use http::HeaderMap;

/// W3C Trace Context: the version, the trace, the caller's span, flags of which the lowest bit says "sampled".
const TRACE_PARENT: &str = "traceparent";
const TRACE_STATE: &str = "tracestate";

/// The trace that a call is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The id of the trace.
    pub trace_id: u128,
    /// The caller's `traceparent` and `tracestate`; none: the trace begins here.
    pub parent: Option<(String, Option<String>)>,
}

/// Decides which calls are traced, as OpenTelemetry's `ParentBased(TraceIdRatioBased)` does.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Traces that begin here are wanted if the lower 64 bits of their ids are below; none: nothing is traced.
    below: Option<u128>,
}

impl Sampling {
    /// Traces this share of the calls whose callers do not decide; none: traces nothing.
    pub fn new(ratio: Option<f64>) -> Self {
        Self { below: ratio.map(|ratio| (ratio * 2f64.powi(64)).round_ties_even() as u128) }
    }

    /// The trace of a call with these headers, if it is traced; `new_id` makes the ids of traces that begin here.
    pub fn origin(self, headers: &HeaderMap, new_id: impl FnOnce() -> u128) -> Option<Origin> {
        let below = self.below?;
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        match text(TRACE_PARENT).and_then(|parent| Some((parent, read(parent)?))) {
            Some((parent, (trace_id, sampled))) => sampled.then(|| Origin {
                trace_id,
                parent: Some((parent.to_owned(), text(TRACE_STATE).map(str::to_owned))),
            }),
            None => {
                let trace_id = new_id();
                (trace_id & u128::from(u64::MAX) < below).then_some(Origin { trace_id, parent: None })
            }
        }
    }
}

/// The trace id of a `traceparent`, and whether it is sampled; none: it does not count.
fn read(parent: &str) -> Option<(u128, bool)> {
    let mut parts = parent.trim_matches([' ', '\t']).split('-');
    let mut number = |digits: usize| {
        let part = parts.next()?;
        let fits = part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| u128::from_str_radix(part, 16).ok()).flatten()
    };
    let (version, trace_id, span_id, flags) = (number(2)?, number(32)?, number(16)?, number(2)?);
    let known = version != 0xff && (version != 0 || parts.next().is_none());
    (known && trace_id != 0 && span_id != 0).then_some((trace_id, flags & 1 == 1))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;

    fn decided(ratio: Option<f64>, parent: &'static str, id: u128) -> Option<Origin> {
        let mut headers = HeaderMap::new();
        if !parent.is_empty() {
            headers.insert(TRACE_PARENT, HeaderValue::from_static(parent));
            headers.insert(TRACE_STATE, HeaderValue::from_static("a=1"));
        }
        Sampling::new(ratio).origin(&headers, || id)
    }

    #[test]
    fn a_caller_decides_for_its_own_calls() {
        const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let origin = decided(Some(0.0), SAMPLED, 1).unwrap();
        assert_eq!(origin.trace_id, TRACE);
        assert_eq!(origin.parent, Some((SAMPLED.to_owned(), Some("a=1".to_owned()))));
        assert_eq!(decided(Some(1.0), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", 1), None);
        // A later version may say more.
        assert!(
            decided(Some(0.0), "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more", 1).is_some()
        );
    }

    #[test]
    fn of_other_calls_a_share_is_traced() {
        const HALF: u128 = 1 << 63;
        for parent in [
            "",
            "sampled",
            "00-0af7651916cd43dd8448eb211c80319c",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            let traced = |ratio, id| decided(Some(ratio), parent, id);
            assert_eq!(traced(0.5, TRACE << 64 | (HALF - 1)).unwrap().parent, None, "{parent}");
            assert_eq!(traced(0.5, TRACE << 64 | HALF), None, "{parent}");
            assert!(traced(1.0, u128::MAX).is_some(), "{parent}");
            assert_eq!(traced(0.0, 1 << 64), None, "{parent}");
        }
    }

    #[test]
    fn without_a_ratio_nothing_is_traced() {
        assert_eq!(decided(None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 1), None);
    }
}
