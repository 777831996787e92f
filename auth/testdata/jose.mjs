// Signs tokens with every algorithm, and verifies those of the other side: one JSON document in, one out.
import * as jose from 'jose';
import { readFileSync } from 'node:fs';

const theirs = JSON.parse(readFileSync(0, 'utf8'));
const verified = {};
for (const [alg, { token, jwk }] of Object.entries(theirs)) {
  const { payload } = await jose.jwtVerify(token, await jose.importJWK(jwk, alg), { algorithms: [alg], audience: 'expedite' });
  verified[alg] = payload.sub;
}
const signed = {};
for (const alg of ['HS256', 'RS256', 'PS256', 'ES256', 'ES384', 'EdDSA']) {
  const kid = 'jose-' + alg;
  let key, jwk;
  if (alg === 'HS256') {
    key = await jose.generateSecret(alg, { extractable: true });
    jwk = await jose.exportJWK(key);
  } else {
    const pair = await jose.generateKeyPair(alg, { extractable: true });
    key = pair.privateKey;
    jwk = await jose.exportJWK(pair.publicKey);
  }
  const token = await new jose.SignJWT({ scope: 'chat:read', 'urn:example:claim': true })
    .setProtectedHeader({ alg, kid, typ: 'JWT' }).setIssuedAt().setIssuer('https://issuer.test').setSubject('alice')
    .setAudience('expedite').setExpirationTime('2h').setJti('jose-1').sign(key);
  signed[alg] = { token, jwk: { ...jwk, kid, use: 'sig' } };
}
console.log(JSON.stringify({ verified, signed }));
