// A real issuer: oidc-provider with its development interactions. Arguments: the folder with node_modules, and what to be, as
// JSON: {name?, clock, accessSeconds, accounts: {login: {groups, ...}}, keys: [{kid, alg}]}. A line on stdin with a list of
// keys replaces those in use, the first one signs; its end is ours.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { generateKeyPairSync } from 'node:crypto';

const [modules, setup] = [process.argv[2], JSON.parse(process.argv[3])];
const { default: Provider } = await import(`${modules}/node_modules/oidc-provider/lib/index.js`);

const now = Date.now;
Date.now = () => now() + setup.clock * 1000;
const say = (line) => process.stdout.write(`issuer: ${line}\n`);

const made = new Map();
function key({ kid, alg }) {
  if (!made.has(kid)) {
    const kind = { RS: ['rsa', { modulusLength: 2048 }], PS: ['rsa', { modulusLength: 2048 }],
      ES: ['ec', { namedCurve: 'P-256' }], Ed: ['ed25519', {}] }[alg.slice(0, 2)];
    made.set(kid, generateKeyPairSync(...kind).privateKey.export({ format: 'jwk' }));
  }
  return { ...made.get(kid), kid, alg, use: 'sig' };
}

let provider;
function use(keys) {
  const [{ kid, alg }] = keys;
  const issuer = setup.name ?? `http://127.0.0.1:${server.address().port}`;
  const always = setup.accessSeconds;
  provider = new Provider(issuer, {
    jwks: { keys: keys.map(key) },
    cookies: { keys: ['test'] },
    scopes: ['openid', 'offline_access'],
    claims: { openid: ['sub'] },
    clients: [{
      client_id: 'siyada',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      id_token_signed_response_alg: alg,
      redirect_uris: ['http://127.0.0.1/callback'],
      response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    }],
    clientDefaults: { id_token_signed_response_alg: alg },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    extraTokenClaims: (_, token) => setup.accounts[token.accountId],
    rotateRefreshToken: true,
    ttl: { AccessToken: always, DeviceCode: 600, Interaction: 600, Session: 600, Grant: 3600, RefreshToken: 3600, IdToken: 600, AuthorizationCode: 60 },
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:siyada:api',
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => ({
          scope: '',
          audience: resource === 'urn:siyada:api' ? 'siyada-api' : resource,
          accessTokenTTL: always,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg, kid } },
        }),
      },
    },
  });
}

const server = createServer((request, response) => provider.callback()(request, response));
server.listen(0, '127.0.0.1', () => {
  use(setup.keys);
  say(`http://127.0.0.1:${server.address().port}`);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    use(JSON.parse(line));
    say('done');
  });
  lines.on('close', () => process.exit(0));
});
