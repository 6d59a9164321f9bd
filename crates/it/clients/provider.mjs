// A certified provider of OpenID Connect (npm `oidc-provider`) on this machine, with a page where anybody signs in under any name.
//
// usage: node provider.mjs FOLDER PORT REDIRECT SECRET        FOLDER has node_modules

const [folder, port, redirect, secret] = process.argv.slice(2);
const { Provider } = await import(`${folder}/node_modules/oidc-provider/lib/index.js`);

const provider = new Provider(`http://localhost:${port}`, {
  clients: [
    {
      client_id: "acequia",
      client_secret: secret,
      redirect_uris: [redirect],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  pkce: { required: () => true },
  cookies: { keys: ["only for tests"] },
  claims: { openid: ["sub"], profile: ["name", "eduperson_scoped_affiliation"] },
  features: { devInteractions: { enabled: true } },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: `Prof. ${id}`, eduperson_scoped_affiliation: ["faculty@uni.example"] }),
  }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
