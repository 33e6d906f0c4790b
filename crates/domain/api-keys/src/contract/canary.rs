//! The program's own key: the ports `CanaryRepository` and `CanaryReader`.

use std::time::Duration;

use futures_util::future::join;

use super::{Ports, keeping, look_up};
use crate::{CanaryKey, CanaryLife};

async fn begin(ports: Ports<'_>, rest: Duration) -> Option<CanaryLife> {
    let mut tx = ports.begin().await;
    let life = tx.canary().begin(&keeping(), rest).await.expect("an answer");
    tx.commit().await.expect("a commit");
    life
}

async fn end(ports: Ports<'_>, life: CanaryLife) -> bool {
    let mut tx = ports.begin().await;
    let ended = tx.canary().end(&keeping(), life).await.expect("an answer");
    tx.commit().await.expect("a commit");
    ended
}

async fn read(ports: Ports<'_>) -> CanaryKey {
    ports.canary.canary(&look_up()).await.expect("there always is one")
}

/// It begins revoked, lives once, and is revoked once; that it is the same key shows everywhere.
pub async fn it_lives_and_is_revoked(ports: Ports<'_>) {
    let first = read(ports).await;
    assert!(first.revoked_at.is_some() && first.revoked_for > Some(Duration::from_hours(24)), "{first:?}");
    let life = begin(ports, Duration::from_hours(1)).await.expect("its rest is over");
    let living = read(ports).await;
    assert_eq!(
        (living.key, living.revision, living.revoked_at, living.revoked_for),
        (life.key, life.revision, None, None)
    );
    assert!(end(ports, life).await);
    let revoked = read(ports).await;
    assert!(revoked.revision > living.revision && revoked.revoked_at > first.revoked_at, "{revoked:?}");
    assert!(revoked.revoked_for < Some(Duration::from_hours(1)), "{revoked:?}");
    assert!(!end(ports, life).await, "it is over");
}

/// While it lives, and before its rest is over, it does not begin.
pub async fn it_begins_after_its_rest_alone(ports: Ports<'_>) {
    let life = begin(ports, Duration::ZERO).await.expect("its rest is over");
    assert_eq!(begin(ports, Duration::ZERO).await, None, "it lives");
    assert!(end(ports, life).await);
    assert_eq!(begin(ports, Duration::from_hours(1)).await, None, "it rests");
    let next = begin(ports, Duration::ZERO).await.expect("its rest is over");
    assert!(next.revision > life.revision);
}

/// Of two transactions that let it live, the second waits for the first and then does nothing.
pub async fn of_two_that_let_it_live_one_does(ports: Ports<'_>) {
    let (mut first, mut second) = (ports.begin().await, ports.begin().await);
    let may = keeping();
    assert!(first.canary().begin(&may, Duration::ZERO).await.expect("an answer").is_some());
    let (late, committed) = join(second.canary().begin(&may, Duration::ZERO), first.commit()).await;
    committed.expect("a commit");
    assert_eq!(late.expect("an answer after the wait"), None);
    second.commit().await.expect("a commit");
}
