//! What replicas tell each other about limits that are in demand.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use portal_api_keys::{DemandBoard, Heard, HeardOf, LimitOf, Told};
use portal_authz::action::LookUpCredential;
use portal_authz::{Authorized, Platform};
use portal_kernel::{AccountId, ApiKeyId, Id, ReplicaId, StoreError};
use uuid::Uuid;

use crate::PgStore;
use crate::pool::refused;
use crate::schema::{rate_demands, replicas};

/// Every part of it sees the tables as they were when it began.
const EXCHANGE: &str = "WITH told AS ( \
         INSERT INTO replicas AS known (id, round, reported_at) VALUES ($1, $2, clock_timestamp()) \
         ON CONFLICT (id) DO UPDATE SET round = excluded.round, reported_at = excluded.reported_at \
         WHERE known.round < excluded.round RETURNING id \
     ), noted AS ( \
         SELECT * FROM unnest($3, $4, $5, $6, $7) AS noted (account_id, key_id, limit_id, demand, share) \
         WHERE EXISTS (SELECT FROM told) \
     ), written AS ( \
         INSERT INTO rate_demands AS known (account_id, key_id, limit_id, replica_id, demand, share) \
         SELECT account_id, key_id, limit_id, $1, demand, share FROM noted \
         ON CONFLICT (account_id, key_id, limit_id, replica_id) DO UPDATE SET demand = excluded.demand, share = excluded.share \
         WHERE (known.demand, known.share) <> (excluded.demand, excluded.share) \
     ), dropped AS ( \
         DELETE FROM rate_demands AS known WHERE known.replica_id = $1 AND EXISTS (SELECT FROM told) AND NOT EXISTS ( \
             SELECT FROM noted WHERE noted.account_id = known.account_id AND noted.key_id = known.key_id \
                 AND noted.limit_id = known.limit_id) \
     ), dead AS ( \
         DELETE FROM replicas WHERE id IN ( \
             SELECT id FROM replicas WHERE id <> $1 AND reported_at < now() - interval '1 minute' FOR UPDATE SKIP LOCKED) \
         RETURNING id \
     ), forgotten AS ( \
         DELETE FROM rate_demands USING dead WHERE replica_id = dead.id \
     ), live AS ( \
         SELECT id FROM replicas WHERE id <> $1 AND reported_at > now() - interval '5 seconds' \
     ) \
     SELECT (SELECT count(*) FROM live) AS others, account_id, key_id, limit_id, \
         sum(demand)::bigint AS demand, sum(share)::bigint AS share, count(*) AS replicas \
     FROM live LEFT JOIN rate_demands ON replica_id = live.id GROUP BY account_id, key_id, limit_id";

/// A limit that others told of, or none of them.
#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct HeardRow {
    #[diesel(sql_type = BigInt)]
    others: i64,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    account_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    key_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    limit_id: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    demand: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    share: Option<i64>,
    #[diesel(sql_type = BigInt)]
    replicas: i64,
}

impl HeardRow {
    fn limit(self) -> Option<HeardOf> {
        let (account, key) = (AccountId::from_uuid(self.account_id?), ApiKeyId::from_uuid(self.key_id?));
        let of = LimitOf { account, key, limit: self.limit_id? };
        let number = |number: Option<i64>| u64::try_from(number.unwrap_or_default()).unwrap_or_default();
        let told = Told { of, demand: number(self.demand), share: number(self.share) };
        Some(HeardOf { told, replicas: usize::try_from(self.replicas).unwrap_or_default() })
    }
}

#[async_trait]
impl DemandBoard for PgStore {
    async fn exchange(
        &self,
        _: &Authorized<LookUpCredential, Platform>,
        replica: ReplicaId,
        round: i64,
        told: &[Told],
    ) -> Result<Heard, StoreError> {
        let accounts: Vec<_> = told.iter().map(|told| told.of.account.uuid()).collect();
        let keys: Vec<_> = told.iter().map(|told| told.of.key.uuid()).collect();
        let limits: Vec<_> = told.iter().map(|told| told.of.limit.as_str()).collect();
        let demands: Vec<_> = told.iter().map(|told| i64::try_from(told.demand).unwrap_or(i64::MAX)).collect();
        let shares: Vec<_> = told.iter().map(|told| i32::try_from(told.share).unwrap_or(i32::MAX)).collect();
        let mut conn = self.connection().await?;
        let rows: Vec<HeardRow> = sql_query(EXCHANGE)
            .bind::<SqlUuid, _>(replica.uuid())
            .bind::<BigInt, _>(round)
            .bind::<Array<SqlUuid>, _>(accounts)
            .bind::<Array<SqlUuid>, _>(keys)
            .bind::<Array<Text>, _>(limits)
            .bind::<Array<BigInt>, _>(demands)
            .bind::<Array<Integer>, _>(shares)
            .load(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        let others = rows.as_slice().first().map_or(0, |row| usize::try_from(row.others).unwrap_or_default());
        Ok(Heard { others, limits: rows.into_iter().filter_map(HeardRow::limit).collect() })
    }

    async fn leave(&self, _: &Authorized<LookUpCredential, Platform>, replica: ReplicaId) -> Result<(), StoreError> {
        let mut conn = self.connection().await?;
        // Nobody looks at what a replica told that there is none of.
        diesel::delete(replicas::table.find(replica.uuid()))
            .execute(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        diesel::delete(rate_demands::table.filter(rate_demands::replica_id.eq(replica.uuid())))
            .execute(&mut conn)
            .await
            .map_err(|error| refused(&mut conn, error))?;
        Ok(())
    }
}
