use std::sync::Mutex;

use async_trait::async_trait;
use portal_kernel::{Begin, Finish};
use portal_testkit::FixedClock;

use super::*;
use crate::testing::{Key, entry};
use crate::{AuditLog, Head, MockAuditLog, MockSignedHeads, SignedHeads, Trail};

struct MockTx {
    heads: MockSignedHeads,
    audit: MockAuditLog,
}

impl AuditTx for MockTx {
    fn audit(&mut self) -> &mut dyn AuditLog {
        &mut self.audit
    }

    fn signed_heads(&mut self) -> &mut dyn SignedHeads {
        &mut self.heads
    }
}

#[async_trait]
impl Finish for MockTx {
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn rollback(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Hands out the prepared transactions from the last to the first.
struct Transactions(Mutex<Vec<MockSignedHeads>>);

#[async_trait]
impl Begin<dyn AuditTx> for Transactions {
    async fn begin(&self) -> Result<Box<dyn AuditTx>, StoreError> {
        let heads = self.0.lock().unwrap().pop().expect("no more transactions");
        Ok(Box::new(MockTx { heads, audit: MockAuditLog::new() }))
    }
}

fn sign_heads(transactions: Vec<MockSignedHeads>) -> SignHeads {
    SignHeads {
        store: Arc::new(Transactions(Mutex::new(transactions))),
        signer: Arc::new(Key(1)),
        clock: Arc::new(FixedClock::default()),
    }
}

fn head() -> Head {
    Head::EMPTY.append(entry(1)).head()
}

#[tokio::test]
async fn what_was_stored_is_told_and_what_somebody_else_signed_is_not() {
    let mut heads = MockSignedHeads::new();
    let account: Trail = "acc_00000000000000000000000001".parse().unwrap();
    heads.expect_unsigned().once().returning(move |_, _| Ok(vec![(Trail::Platform, head()), (account, head())]));
    heads.expect_add().times(2).returning(|_, signed| Ok(signed.is_valid(&Key(1)) && signed.trail == Trail::Platform));
    let mut told = Vec::new();
    sign_heads(vec![heads]).run(|signed| told.push(signed.trail)).await.unwrap();
    assert_eq!(told, [Trail::Platform]);
}

#[tokio::test]
async fn many_chains_take_several_transactions_and_those_before_a_failure_stay() {
    let mut full = MockSignedHeads::new();
    full.expect_unsigned().returning(|_, limit| Ok(vec![(Trail::Platform, head()); limit]));
    full.expect_add().times(BATCH).returning(|_, _| Ok(true));
    let mut failing = MockSignedHeads::new();
    failing.expect_unsigned().once().returning(|_, _| Err(StoreError::Unavailable("away".into())));
    let mut told = 0;
    let outcome = sign_heads(vec![failing, full]).run(|_| told += 1).await;
    assert!(matches!(outcome, Err(SignHeadsError::Store(StoreError::Unavailable(_)))), "{outcome:?}");
    assert_eq!(told, BATCH);
}
