// Every address is relative to the page, so that the viewer works behind a base path.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  // A key is a secret: it stays in this page's memory and is gone when the page is reloaded.
  persistAuthorization: false,
  requestSnippetsEnabled: true,
  tryItOutEnabled: true,
  validatorUrl: null, // the default would send the document to a public service
});
