//! Routes whose handlers state a requirement, and the OpenAPI document that follows from them.
//!
//! A handler without a requirement as its first argument does not compile here, and there is no other way to register one. The
//! requirement is resolved alone, before path, query or body are read: a caller without a right learns nothing from how a body is
//! refused.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use actix_web::http::header::ALLOW;
use actix_web::http::{Method, StatusCode};
use actix_web::rt::time::timeout;
use actix_web::{FromRequest, HttpRequest, HttpResponse, Resource, Route, web};
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{HttpMethod, Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, Schema};

use crate::context::request_id;
use crate::guard::{Requirement, RequirementKind};
use crate::metrics::{EndpointMetrics, HttpMetrics};
use crate::problem::Problem;
use crate::rate_limits::{Counted, Effort, reads};

/// How long an answer may take before whatever it waits for counts as down: the body, and more than any statement may run.
const DEADLINE: Duration = Duration::from_secs(20);

/// How long a caller may take to send a body.
pub(crate) const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// Where programs call; all of it is limited, but for services.
const API: &str = "/v1/";

/// What browsers keep, and ask for once.
const ASSETS: &str = "/assets/";

/// Schemas by name, as utoipa collects them for one operation.
type Schemas = Vec<(String, RefOr<Schema>)>;

/// An async function `(requirement, extractors…) -> Result<HttpResponse, impl Into<Problem>>`.
pub trait Handler<R, Args>: Clone + Send + Sync + 'static {
    /// Calls it.
    fn call(&self, who: R, args: Args) -> impl Future<Output = Result<HttpResponse, Problem>>;
}

macro_rules! handler {
    ($($arg:ident: $Arg:ident),*) => {
        impl<F, R, Fut, E, $($Arg,)*> Handler<R, ($($Arg,)*)> for F
        where
            F: Fn(R, $($Arg,)*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<HttpResponse, E>>,
            E: Into<Problem>,
        {
            async fn call(&self, who: R, ($($arg,)*): ($($Arg,)*)) -> Result<HttpResponse, Problem> {
                self(who, $($arg,)*).await.map_err(Into::into)
            }
        }
    };
}

handler!();
handler!(a: A);
handler!(a: A, b: B);
handler!(a: A, b: B, c: C);
handler!(a: A, b: B, c: C, d: D);

/// One operation: where, what, and who may call it.
pub struct Endpoint {
    path: String,
    method: Method,
    /// None for a page, which no program reads.
    operation: Option<Operation>,
    schemas: Schemas,
    /// What a request costs; none where nobody is limited.
    effort: Option<Effort>,
    make: Arc<dyn Fn(Watch) -> Route + Send + Sync>,
}

/// What is counted of an endpoint's requests.
#[derive(Clone)]
struct Watch {
    metrics: Arc<EndpointMetrics>,
    effort: Option<Effort>,
}

/// Shows an error to a person.
pub type ErrorPage = fn(Problem, &HttpRequest) -> HttpResponse;

/// Makes a route anew for each worker.
type MakeRoute = Arc<dyn Fn() -> Route + Send + Sync>;

impl Endpoint {
    /// `P` is the marker that `#[utoipa::path]` makes beside the handler: `Endpoint::new::<__path_create, _, _, _>(create)`.
    pub fn new<P, R, Args, H>(handler: H) -> Self
    where
        P: utoipa::Path + utoipa::__dev::SchemaReferences,
        R: Requirement,
        Args: FromRequest + 'static,
        H: Handler<R, Args>,
    {
        let mut schemas = Vec::new();
        P::schemas(&mut schemas);
        let method = P::methods().into_iter().next().map_or(Method::GET, |method| http_method(&method));
        let (path, mut operation) = (P::path(), describe::<R>(P::operation()));
        let limited = match R::KIND {
            RequirementKind::Session | RequirementKind::ApiKey | RequirementKind::Page => true,
            RequirementKind::Public => path.starts_with(API),
            // Gateways and the provider send as much as there is.
            RequirementKind::Service | RequirementKind::Signature => false,
        };
        if limited {
            let words = "Too many requests of one person or address; repeat after Retry-After";
            operation.responses.responses.insert("429".to_owned(), RefOr::T(problem(words)));
        }
        let effort = if reads(&method) { Effort::Read } else { Effort::Write };
        Self {
            path,
            method,
            operation: Some(operation),
            schemas,
            effort: limited.then_some(effort),
            make: Arc::new(move |watch| route::<R, Args, H>(handler.clone(), watch, Problem::respond)),
        }
    }

    /// Each request has the identity provider asked, and counts against the smaller limit for that.
    #[must_use]
    pub fn asks_provider(mut self) -> Self {
        self.effort = self.effort.map(|_| Effort::AsksProvider);
        self
    }

    /// A page at this path; what goes wrong is shown by `error_page`.
    pub fn page<R, Args, H>(path: &str, handler: H, error_page: ErrorPage) -> Self
    where
        R: Requirement,
        Args: FromRequest + 'static,
        H: Handler<R, Args>,
    {
        Self {
            path: path.to_owned(),
            method: Method::GET,
            operation: None,
            schemas: Vec::new(),
            effort: (!path.starts_with(ASSETS)).then_some(Effort::Read),
            make: Arc::new(move |watch| route::<R, Args, H>(handler.clone(), watch, error_page)),
        }
    }
}

fn http_method(method: &HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Trace => Method::TRACE,
    }
}

/// States the requirement, and the answers that follow from it, in the operation.
fn describe<R: Requirement>(mut operation: Operation) -> Operation {
    let mut extensions = ExtensionsBuilder::new().add("x-requirement", R::KIND.as_str());
    if let Some(action) = R::ACTION {
        extensions = extensions.add("x-action", action.as_str());
    }
    operation.extensions.get_or_insert_default().merge(extensions.build());
    let scheme = match R::KIND {
        RequirementKind::Public | RequirementKind::Page | RequirementKind::Signature => None,
        RequirementKind::Session => Some("session"),
        RequirementKind::Service => Some("service"),
        RequirementKind::ApiKey => Some("api_key"),
    };
    if let Some(scheme) = scheme {
        operation.security = Some(vec![SecurityRequirement::new(scheme, Vec::<String>::new())]);
        for (status, words) in [("401", "No credential, or one that does not count"), ("403", "Not allowed")] {
            operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem(words)));
        }
    }
    let mut say = |status: &str, words: &str| {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem(words)));
    };
    let in_query = |parameter: &Parameter| parameter.parameter_in == ParameterIn::Query;
    if operation
        .parameters
        .iter()
        .flatten()
        .any(|parameter| matches!(parameter, RefOr::T(parameter) if in_query(parameter)))
    {
        say("400", "The query string cannot be read");
    }
    if operation.request_body.is_some() {
        say("400", "The body cannot be read");
        say("413", "The body is too large");
        say("415", "The body is not application/json");
        say("422", "The body is not valid");
    }
    say("500", "A defect of this program");
    let outage = || RefOr::T(problem("Something this program needs is down; repeat after Retry-After"));
    operation.responses.responses.entry("503".to_owned()).or_insert_with(outage);
    operation
}

fn problem(words: &str) -> Response {
    let mut response = Response::new(words);
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    response.content.insert("application/problem+json".to_owned(), content.into());
    response
}

fn route<R, Args, H>(handler: H, watch: Watch, show: ErrorPage) -> Route
where
    R: Requirement,
    Args: FromRequest + 'static,
    H: Handler<R, Args>,
{
    web::route().to(move |req: HttpRequest, payload: web::Payload| {
        let (handler, Watch { metrics, effort }) = (handler.clone(), watch.clone());
        async move {
            let started = Instant::now();
            let mut counted = Counted::default();
            let mut response = {
                let answer = pin!(serve::<R, Args, H>(&handler, &req, payload, effort, &mut counted));
                match in_time(DEADLINE, answer).await {
                    Ok(Ok(response)) => response,
                    Ok(Err(problem)) => show(problem, &req),
                    Err(Elapsed) => show(deadline_passed(), &req),
                }
            };
            counted.tell(response.headers_mut());
            let elapsed = started.elapsed();
            metrics.record(response.status(), elapsed);
            tracing::debug!(
                request.id = request_id(&req).map(tracing::field::display),
                http.method = req.method().as_str(),
                http.route = req.match_pattern().as_deref(),
                http.status = response.status().as_u16(),
                duration_ms = elapsed.as_secs_f64() * 1e3,
                "request answered"
            );
            response
        }
    })
}

async fn serve<R, Args, H>(
    handler: &H,
    req: &HttpRequest,
    payload: web::Payload,
    effort: Option<Effort>,
    counted: &mut Counted,
) -> Result<HttpResponse, Problem>
where
    R: Requirement,
    Args: FromRequest,
    H: Handler<R, Args>,
{
    if effort.is_some() {
        counted.by_address(req)?;
    }
    let who = match R::resolve(req).await {
        Ok(who) => who,
        Err(refusal) => return refusal.respond(),
    };
    if let (Some(effort), Some(user)) = (effort, who.user()) {
        counted.by_user(req, user, effort)?;
    }
    let mut payload = payload.into_inner();
    // A body that comes too slowly is the caller's fault, not an outage.
    let args = pin!(Args::from_request(req, &mut payload));
    let args = in_time(BODY_DEADLINE, args).await.map_err(|Elapsed| request_timeout())?;
    handler.call(who, args.map_err(Into::into)?).await
}

/// The time is over.
struct Elapsed;

/// Most futures here are ready at once: only one that has to wait gets a timer. Pinned by the caller, who would otherwise hold every
/// future twice, before and after its move.
async fn in_time<F: Future>(limit: Duration, mut future: Pin<&mut F>) -> Result<F::Output, Elapsed> {
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => timeout(limit, future).await.map_err(|_| Elapsed),
    }
}

fn deadline_passed() -> Problem {
    Problem::unavailable("unavailable", "Temporarily unavailable").cause("the deadline passed")
}

pub(crate) fn request_timeout() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "The body took too long")
}

/// A set of endpoints.
#[derive(Default)]
pub struct Routes {
    endpoints: Vec<Endpoint>,
}

impl Routes {
    /// Adds one.
    #[must_use]
    pub fn with(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Adds all of another set.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.endpoints.extend(other.endpoints);
        self
    }

    /// What to call in the worker factory: registers every path once, with all its methods, and answers 405 to others.
    pub fn mount(self, metrics: &HttpMetrics) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + Sync + use<> {
        let mut by_path: BTreeMap<String, Vec<(Method, MakeRoute)>> = BTreeMap::new();
        for Endpoint { path, method, make, effort, .. } in self.endpoints {
            let watch = Watch { metrics: metrics.endpoint(method.as_str(), &path), effort };
            by_path.entry(path).or_default().push((method, Arc::new(move || make(watch.clone()))));
        }
        let by_path = Arc::new(by_path);
        move |config| {
            // Routes are tried in turn: fixed paths are compared faster than patterns, and none of them matches another.
            let (patterns, fixed): (Vec<_>, Vec<_>) = by_path.iter().partition(|(path, _)| path.contains('{'));
            for (path, methods) in fixed.into_iter().chain(patterns) {
                let mut resource = Resource::new(path.as_str());
                let mut allow = Vec::new();
                for (method, make) in methods {
                    resource = resource.route(make().method(method.clone()));
                    allow.push(method.as_str());
                    if *method == Method::GET {
                        // The same answer without its body, which the server leaves out (RFC 9110, section 9.3.2).
                        resource = resource.route(make().method(Method::HEAD));
                        allow.push("HEAD");
                    }
                }
                let allow = allow.join(", ");
                config.service(resource.default_service(web::to(move |req: HttpRequest| {
                    let refusal =
                        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed")
                            .header(ALLOW, &allow);
                    async move { refuse(refusal, &req) }
                })));
            }
        }
    }

    /// Adds all operations and their schemas to a document.
    pub fn describe(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.operation.is_some()) {
            components.schemas.extend(endpoint.schemas.clone());
            let mut item = PathItem::default();
            let operation = endpoint.operation.clone();
            match endpoint.method {
                Method::POST => item.post = operation,
                Method::PUT => item.put = operation,
                Method::PATCH => item.patch = operation,
                Method::DELETE => item.delete = operation,
                _ => item.get = operation,
            }
            document.paths.paths.entry(endpoint.path.clone()).or_default().merge_operations(item);
        }
    }
}

/// Answers a path that is no route, with the same words as a resource that is not there.
pub async fn not_found(req: HttpRequest) -> HttpResponse {
    refuse(Problem::not_found(), &req)
}

/// Says no without a handler. Where programs call, asking for what there is not is counted as well.
fn refuse(refusal: Problem, req: &HttpRequest) -> HttpResponse {
    let mut counted = Counted::default();
    let limited = if req.path().starts_with(API) { counted.by_address(req) } else { Ok(()) };
    let mut response = limited.err().unwrap_or(refusal).respond(req);
    counted.tell(response.headers_mut());
    response
}
