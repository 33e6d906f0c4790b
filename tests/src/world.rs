//! Something of everything that has an id, and every operation with a sample of how to call it.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{Answer, Portal};

/// How to call an operation so that it succeeds.
pub struct Sample {
    /// Its `operationId`.
    pub operation: &'static str,
    body: Option<fn(&World) -> Value>,
    /// Column of the policy matrix, after the role, that says who may.
    pub column: usize,
    /// Whether its success takes the world away from what comes after it.
    pub destroys: bool,
    /// Status of success.
    pub success: u16,
}

/// Something in the account that another member made.
const ACCOUNT: usize = 2;
/// What everybody made themselves.
const OWN: usize = 3;
/// The membership of a viewer.
const VIEWER: usize = 4;
/// The membership of an editor.
const EDITOR: usize = 5;

const fn plain(operation: &'static str) -> Sample {
    Sample { operation, body: None, column: ACCOUNT, destroys: false, success: 200 }
}

const fn own(operation: &'static str) -> Sample {
    Sample { column: OWN, ..plain(operation) }
}

const fn of_viewer(operation: &'static str) -> Sample {
    Sample { column: VIEWER, ..plain(operation) }
}

const SAMPLES: &[Sample] = &[
    plain("getAuthStatus"),
    plain("getMe"),
    Sample { body: Some(|_| json!({ "preferences": { "theme": "dark" } })), ..plain("updateMe") },
    plain("listMyAccounts"),
    plain("listMySessions"),
    plain("revokeMySession"),
    plain("signOut"),
    plain("getAccount"),
    Sample { body: Some(|_| json!({ "name": "Acme & Sons" })), ..plain("updateAccount") },
    Sample { destroys: true, success: 204, ..plain("deleteAccount") },
    Sample { body: Some(|world| json!({ "user_id": world.member })), destroys: true, ..plain("transferOwnership") },
    plain("listMembers"),
    of_viewer("getMember"),
    Sample { body: Some(|_| json!({ "role": "editor" })), destroys: true, column: EDITOR, ..plain("updateMember") },
    Sample { destroys: true, success: 204, ..of_viewer("removeMember") },
    plain("listInvitations"),
    Sample {
        body: Some(|_| json!({ "email": "new@example.test", "role": "viewer" })),
        success: 201,
        ..of_viewer("createInvitation")
    },
    of_viewer("revokeInvitation"),
    plain("listApiKeys"),
    Sample { body: Some(|_| json!({ "name": "coverage" })), success: 201, ..plain("createApiKey") },
    plain("getApiKey"),
    Sample { body: Some(|_| json!({ "name": "renamed", "models": ["m-*"] })), ..plain("updateApiKey") },
    plain("disableApiKey"),
    plain("enableApiKey"),
    Sample { body: Some(|_| json!({ "overlap_seconds": 3600 })), ..plain("rotateApiKey") },
    Sample { body: Some(|_| json!({})), ..plain("explainApiKey") },
    Sample { destroys: true, ..plain("revokeApiKey") },
    plain("getPresentedKey"),
    Sample { success: 202, ..plain("revokePresentedKey") },
    Sample { body: Some(|_| json!({ "type": "user.updated" })), ..plain("receiveClerkWebhook") },
    Sample { body: Some(|_| json!([])), ..plain("receiveSecretScanningReport") },
    own("listAuditEvents"),
    plain("getKeySnapshot"),
    plain("getKeyChanges"),
    Sample { body: Some(|world| json!({ "key": world.secret })), ..plain("verifyApiKey") },
    Sample { body: Some(|world| json!({ "keys": [{ "key": world.secret }] })), ..plain("verifyApiKeys") },
    plain("getRevocationStatus"),
    plain("getLiveness"),
    plain("getReadiness"),
    plain("getOpenApi"),
    plain("getMetrics"),
];

/// Acme with a fifth member, an invitation, a key that its admin made, and service tokens.
pub struct World {
    /// The program.
    pub portal: Portal,
    /// Acme's account.
    pub account: String,
    /// The fifth member, a viewer.
    pub member: String,
    /// The invitation that is open.
    pub invitation: String,
    /// The id of the key.
    pub key: String,
    /// The key itself.
    pub secret: String,
    /// A session of Acme's owner.
    pub session: String,
    /// A service token that may do everything.
    pub all_scopes: String,
    /// A service token that was revoked.
    pub revoked: String,
}

impl World {
    /// Starts the program with it.
    ///
    /// # Panics
    /// If something of it cannot be made.
    pub async fn new() -> Self {
        let portal = Portal::start().await;
        let account = portal.acme().await;
        let member = portal.add_member("nina", "org:viewer").await;
        let invitation = json!({ "email": "invited@example.test", "role": "viewer" });
        let path = format!("/v1/accounts/{account}/invitations");
        let invitation = portal.post(&path, &portal.token("adam"), &invitation).await.text_at("/id");
        let (key, secret) = portal.create_key("adam", &account).await;
        let create = ["create", "--name", "all", "--scope", "keys:feed,keys:verify,metrics:read"];
        let all_scopes = portal.service_token(&create).await;
        let revoked =
            portal.service_token(&["create", "--name", "gone", "--scope", "keys:feed,keys:verify,metrics:read"]).await;
        portal.service_token(&["revoke", "--name", "gone"]).await;
        let session = portal.idp.add_session(&portal.person("alice").user_id).expect("she exists").id;
        Self { portal, account, member, invitation, key, secret, session, all_scopes, revoked }
    }

    /// The path of an operation with ids of this world.
    pub fn path(&self, operation: &Operation) -> String {
        self.fill(&operation.path)
    }

    /// The path of a route with ids of this world.
    pub fn fill(&self, route: &str) -> String {
        let path = route.replace("{account_id}", &self.account).replace("{key_id}", &self.key);
        let path = path.replace("{user_id}", &self.member).replace("{invitation_id}", &self.invitation);
        path.replace("{session_id}", &self.session)
    }

    /// The body with which an operation succeeds; none if it takes none.
    pub fn body(&self, operation: &Operation) -> Option<Value> {
        operation.sample.body.map(|body| body(self))
    }

    /// A request that succeeds for whoever may.
    pub fn request(&self, operation: &Operation, path: &str) -> RequestBuilder {
        let request = self.portal.request(operation.method.clone(), path);
        match self.body(operation) {
            Some(body) => request.json(&body),
            None => request,
        }
    }

    /// Sends it with a bearer token.
    pub async fn call(&self, operation: &Operation, path: &str, token: &str) -> Answer {
        self.portal.send(self.request(operation, path).bearer_auth(token)).await
    }
}

/// An operation of the committed OpenAPI document.
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its route.
    pub path: String,
    /// What it requires of its caller.
    pub requirement: String,
    /// The action that the policy is asked about.
    pub action: Option<String>,
    /// The schemes of authentication.
    pub security: Value,
    /// How to call it.
    pub sample: &'static Sample,
}

/// All of them.
///
/// # Panics
/// If one has no sample: nobody knows how to call it.
pub fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).expect("JSON");
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("an id");
            let sample = SAMPLES.iter().find(|sample| sample.operation == id);
            found.push(Operation {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                requirement: operation["x-requirement"].as_str().unwrap_or_else(|| panic!("{id} has none")).to_owned(),
                action: operation["x-action"].as_str().map(ToOwned::to_owned),
                security: operation["security"].clone(),
                sample: sample.unwrap_or_else(|| panic!("{id} has no sample: nobody knows how to call it")),
            });
        }
    }
    assert_eq!(found.len(), SAMPLES.len(), "a sample is of no operation");
    found
}

/// Ids of things that are there, and well-formed ones of the same kinds that are nobody's.
pub struct Ids(Vec<(String, String)>);

impl Ids {
    /// Those of a world.
    pub async fn of(world: &World) -> Self {
        let alice = world.portal.get("/v1/me", &world.portal.token("alice")).await;
        let nothing = "01jdzqzr4ne5z8p5t2z6fj7x3b";
        Self(vec![
            (world.account.clone(), format!("acc_{nothing}")),
            (world.key.clone(), format!("key_{nothing}")),
            (world.session.clone(), format!("sess_{nothing}")),
            (world.member.clone(), format!("usr_{nothing}")),
            (world.invitation.clone(), format!("orginv_{nothing}")),
            (alice.text_at("/user/id"), format!("usr_{nothing}")),
            (alice.text_at("/user/clerk_id"), format!("user_{nothing}")),
            ("org_dev_acme".to_owned(), format!("org_{nothing}")),
        ])
    }

    /// The same text about nothing.
    pub fn replaced_in(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (real, nothing)| text.replace(real, nothing))
    }
}
