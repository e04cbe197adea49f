//! `/images/search`: what a registry finds, filtered here.

use super::super::call::{self, Call, Response};
use super::super::error::{ApiError, Result};
use super::auth;

pub(super) async fn search(call: &Call) -> Result<Response> {
    let filters = call.query.filters()?;
    filters.validate(&["is-automated", "is-official", "stars"])?;
    let official = filters.flag("is-official")?;
    let automated = filters.flag("is-automated")?;
    let mut least = 0;
    for stars in filters.get("stars") {
        let stars: i64 = stars
            .parse()
            .map_err(|_| ApiError::invalid(format!("invalid filter 'stars={stars}'")))?;
        least = least.max(stars);
    }
    let limit = call.query.strict("limit")?;
    let term = call.query.get("term");
    if term.is_empty() {
        return Err(ApiError::invalid("search term cannot be empty"));
    }
    let mut found = call.api.images().search(term, limit, &auth(call)).await?;
    found.retain(|image| {
        official.is_none_or(|wanted| image.is_official == wanted)
            && automated.is_none_or(|wanted| image.is_automated == wanted)
            && image.star_count >= least
    });
    call::ok(&found)
}
