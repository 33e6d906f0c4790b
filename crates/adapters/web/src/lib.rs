//! The pages of the portal, rendered on the server. They work without a script.
#![warn(missing_docs)]

mod layout;
mod pages;

use std::sync::Arc;

use actix_web::web;
use portal_http_kit::HttpMetrics;

/// What the pages need besides what guards bring.
#[derive(Debug, Clone)]
pub struct Web {
    /// `scheme://host[:port]` of this program, as browsers see it.
    pub public_origin: String,
    /// Where the identity provider lets people sign in: an absolute URL.
    pub sign_in_url: String,
}

impl Web {
    /// What each worker calls to serve the pages.
    pub fn mount(self, metrics: &Arc<HttpMetrics>) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + Sync + 'static {
        let routes = pages::routes().mount(metrics);
        let web = web::Data::new(self);
        move |config| {
            config.app_data(web.clone()).configure(&routes);
        }
    }
}
