//! The command line. Every option can be given by an environment variable instead.

use crate::access::Platform;
use crate::store::incarnation::Declaration;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The ledger of Siyada.
#[derive(Debug, Parser)]
#[command(name = "siyada-api", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the api.
    Serve(Box<Serve>),
    /// Bring the schema of the database up to date, and stop.
    Migrate(DatabaseArgs),
    /// Declare what a restored database is: until then nothing is served from it. What it lost is proved again or becomes
    /// a gap, and no number that was given out is given out again.
    Recover(RecoverArgs),
    /// Write everything that statements are computed from into a new directory, for auditors.
    Export(ExportArgs),
    /// Check an export with nothing but its files: every hash, number, link and signature, and every month computed again.
    Verify(VerifyArgs),
    /// Print the description of the api.
    Openapi,
    /// Print the version.
    Version,
}

/// Which database.
#[derive(Clone, Debug, Args)]
#[group(id = "database", required = true, multiple = true)]
pub struct DatabaseArgs {
    /// URL of the PostgreSQL (15 or newer) that holds the ledger. Over a network only with sslmode=verify-full, which
    /// --database-ca implies.
    #[arg(long, env = "SIYADA_DATABASE_URL", hide_env_values = true, conflicts_with = "embedded_postgres")]
    pub database_url: Option<String>,
    /// File with the certificate authority of the database; implies sslmode=verify-full.
    #[arg(long, env = "SIYADA_DATABASE_CA", requires = "database_url")]
    pub database_ca: Option<PathBuf>,
    /// Run a private PostgreSQL with its data in this directory: for a laptop and for tests.
    #[arg(long, env = "SIYADA_EMBEDDED_POSTGRES", value_name = "DIR")]
    pub embedded_postgres: Option<PathBuf>,
    /// Let the private PostgreSQL lose data when the machine stops: only for tests.
    #[arg(long, env = "SIYADA_EMBEDDED_UNSAFE_NO_FSYNC", requires = "embedded_postgres")]
    pub embedded_unsafe_no_fsync: bool,
}

/// What a restored database is.
#[derive(Clone, Debug, Args)]
pub struct RecoverArgs {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Who declares it, for the audit trail.
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// Why it was restored, for the audit trail.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// It is a whole copy that was moved while no api ran: nothing is lost.
    #[arg(long, conflicts_with = "void")]
    pub nothing_lost: bool,
    /// It is a copy of files or volumes on the same server and timeline, which PostgreSQL does not know of.
    #[arg(long)]
    pub unnoticed: bool,
    /// Number of a document that was given out and is not in the restored database: it is put on record as void. May be
    /// given many times.
    #[arg(long, value_name = "NUMBER")]
    pub void: Vec<String>,
}

impl From<RecoverArgs> for Declaration {
    fn from(args: RecoverArgs) -> Self {
        let RecoverArgs { by, reason, nothing_lost, unnoticed, void, .. } = args;
        Self { by, reason, nothing_lost, unnoticed, void }
    }
}

/// Where to write an export.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The directory, which must not be there yet.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
}

/// Which export to check.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// The directory of the export.
    #[arg(long, value_name = "DIR")]
    pub export: PathBuf,
    /// The issuer's public key in base64, as `GET /v1/signing-key` answers it; every document must be signed by it then.
    #[arg(long, value_name = "BASE64")]
    pub public_key: Option<String>,
}

/// How to serve.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Address of the api.
    #[arg(long, env = "SIYADA_LISTEN", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,
    /// Address of the metrics, without TLS and without authentication.
    #[arg(long, env = "SIYADA_METRICS_LISTEN", default_value = "0.0.0.0:9090")]
    pub metrics_listen: SocketAddr,
    /// File with the certificate chain (PEM); read again when it changes.
    #[arg(long, env = "SIYADA_TLS_CERT", requires = "tls_key", required_unless_present = "insecure_http")]
    pub tls_cert: Option<PathBuf>,
    /// File with the private key (PEM); read again when it changes.
    #[arg(long, env = "SIYADA_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Serve without TLS: only on a loopback address.
    #[arg(long, env = "SIYADA_INSECURE_HTTP", conflicts_with = "tls_cert")]
    pub insecure_http: bool,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Whose tokens are accepted.
    #[command(flatten)]
    pub tokens: TokenArgs,
    /// Who has a role on the platform.
    #[command(flatten)]
    pub platform: PlatformArgs,
    /// A standby of the same cluster may take over without being declared: only where none is behind what was acknowledged
    /// (synchronous replication), and where a restored cluster has another cluster_name.
    #[arg(long, env = "SIYADA_ACCEPT_FAILOVER")]
    pub accept_failover: bool,
    /// The month in which the issuer's fiscal year begins.
    #[arg(long, env = "SIYADA_FISCAL_YEAR_START_MONTH", default_value_t = 1, value_parser = clap::value_parser!(i8).range(1..=12))]
    pub fiscal_year_start_month: i8,
    /// How much of its costs the hosting body must earn itself, in basis points: 3000 is 30 %. It is only told, by
    /// GET /v1/cost-coverage.
    #[arg(long, env = "SIYADA_COVERAGE_THRESHOLD_BASIS_POINTS")]
    pub coverage_threshold_basis_points: Option<u32>,
    /// File with the Ed25519 key (PKCS#8, PEM) that signs statements; without it they are chained, but not signed.
    #[arg(long, env = "SIYADA_SIGNING_KEY")]
    pub signing_key: Option<PathBuf>,
    /// File with the webhooks that tenants may name in their alerts: JSON, [{"name", "url", "secret"}].
    #[arg(long, env = "SIYADA_WEBHOOKS")]
    pub webhooks: Option<PathBuf>,
    /// Networks, as CIDR, in which a webhook may lie although they are loopback, link-local, private or the cluster's.
    #[arg(long, env = "SIYADA_WEBHOOK_ALLOW", value_delimiter = ',')]
    pub webhook_allow: Vec<String>,
}

/// Whose tokens are accepted.
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    /// Issuer of the cluster's service account tokens, exactly as in their `iss`.
    #[arg(long, env = "SIYADA_ISSUER")]
    pub issuer: String,
    /// URL of the cluster's public keys.
    #[arg(long, env = "SIYADA_JWKS_URL", default_value = "https://kubernetes.default.svc/openid/v1/jwks")]
    pub jwks_url: String,
    /// File with the certificate authority of that URL; the system's when absent.
    #[arg(long, env = "SIYADA_JWKS_CA")]
    pub jwks_ca: Option<PathBuf>,
    /// File with the token to fetch them with.
    #[arg(long, env = "SIYADA_JWKS_TOKEN_FILE")]
    pub jwks_token_file: Option<PathBuf>,
    /// Audience that tokens must be for.
    #[arg(long, env = "SIYADA_AUDIENCE", default_value = "siyada-api")]
    pub audience: String,
    /// After how many seconds keys are fetched again, so that a withdrawn one stops being accepted.
    #[arg(long, env = "SIYADA_KEYS_FRESH_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub keys_fresh_seconds: u64,
    /// File with the issuers of people's tokens (OpenID Connect): JSON, [{"issuer", "prefix", "jwksUrl"?, "caFile"?,
    /// "audience"?, "subjectClaim"?, "groupsClaim"?}].
    #[arg(long, env = "SIYADA_PEOPLE_ISSUERS", value_name = "FILE")]
    pub people_issuers: Option<PathBuf>,
    /// One more issuer of people's tokens, exactly as in their `iss`.
    #[arg(long, env = "SIYADA_PEOPLE_ISSUER")]
    pub people_issuer: Option<String>,
    /// URL of the public keys of that issuer; where it says itself when absent.
    #[arg(long, env = "SIYADA_PEOPLE_JWKS_URL", requires = "people_issuer")]
    pub people_jwks_url: Option<String>,
    /// File with the certificate authority of that issuer; the system's when absent.
    #[arg(long, env = "SIYADA_PEOPLE_JWKS_CA")]
    pub people_jwks_ca: Option<PathBuf>,
    /// Prefix of that issuer's subjects and groups, the same as the API server's.
    #[arg(long, env = "SIYADA_PEOPLE_PREFIX", default_value = "oidc:")]
    pub people_prefix: String,
}

/// Who has a role on the platform: subjects or groups. By environment: separated by commas.
#[derive(Clone, Debug, Default, Args)]
pub struct PlatformArgs {
    /// Who is the operator, for example system:serviceaccount:siyada-system:siyada-operator.
    #[arg(long = "platform-operator", env = "SIYADA_PLATFORM_OPERATOR", value_delimiter = ',')]
    pub operator: Vec<String>,
    /// Who is national finance.
    #[arg(long = "platform-finance", env = "SIYADA_PLATFORM_FINANCE", value_delimiter = ',')]
    pub finance: Vec<String>,
    /// Who audits.
    #[arg(long = "platform-auditor", env = "SIYADA_PLATFORM_AUDITOR", value_delimiter = ',')]
    pub auditor: Vec<String>,
    /// Who administers the platform.
    #[arg(long = "platform-admin", env = "SIYADA_PLATFORM_ADMIN", value_delimiter = ',')]
    pub admin: Vec<String>,
}

impl From<PlatformArgs> for Platform {
    fn from(args: PlatformArgs) -> Self {
        // An empty variable of the environment names nobody.
        let named = |names: Vec<String>| {
            names.into_iter().map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect()
        };
        Self {
            operator: named(args.operator),
            finance: named(args.finance),
            auditor: named(args.auditor),
            admin: named(args.admin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["siyada-api"].iter().chain(args))
    }

    #[test]
    fn what_is_needed_is_asked_for() {
        let full = ["serve", "--issuer=i", "--embedded-postgres=/d", "--insecure-http"];
        assert!(parse(&full).is_ok());
        for missing in 1..full.len() {
            let args: Vec<_> =
                full.iter().enumerate().filter(|(i, _)| *i != missing).map(|(_, a)| *a).collect();
            assert!(parse(&args).is_err(), "{args:?}");
        }
        assert!(parse(&["migrate", "--database-url=u", "--embedded-postgres=/d"]).is_err());
        assert!(parse(&["migrate", "--embedded-unsafe-no-fsync"]).is_err());
    }

    #[test]
    fn platform_roles_can_be_repeated_and_empty_ones_name_nobody() {
        let base = ["serve", "--issuer=i", "--embedded-postgres=/d", "--insecure-http"];
        let args =
            [&base[..], &["--platform-admin=a", "--platform-admin=b, c", "--platform-auditor="]].concat();
        let Command::Serve(serve) = parse(&args).unwrap().command else { panic!("serve") };
        let platform = Platform::from(serve.platform);
        assert_eq!(platform.admin, ["a", "b", "c"]);
        assert!(platform.auditor.is_empty());
    }
}
