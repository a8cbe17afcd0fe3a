// Swagger UI does not know `x-codeSamples`. This shows the samples above the operation's parameters.
const samples = ({ React, getComponent }) => {
  const element = React.createElement;
  const Samples = ({ all }) => {
    const [chosen, choose] = React.useState(0);
    const tabs = all.map(({ label }, number) =>
      element(
        "button",
        { key: label, type: "button", "aria-pressed": number === chosen, onClick: () => choose(number) },
        label,
      ),
    );
    const { lang, source } = all[chosen];
    const Code = getComponent("HighlightCode", true);
    const language = { Shell: "bash", Python: "python", TypeScript: "javascript" }[lang];
    return element(
      "section",
      { className: "samples", "aria-label": "Samples" },
      element("div", { className: "tabs" }, tabs),
      element(Code, { language, className: "sample" }, source),
    );
  };
  return {
    wrapComponents: {
      parameters: (Original) => (props) => {
        const all = props.operation.get("x-codeSamples")?.toJS() ?? [];
        const shown = all.length ? element(Samples, { all }) : null;
        return element(React.Fragment, null, shown, element(Original, props));
      },
    },
  };
};

// Swagger UI's dark colours need this class.
const isDark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", isDark.matches);
isDark.addEventListener("change", paint);
paint();

const isComfy = new URLSearchParams(location.search).get("api") === "comfy";

// Every address is relative to the page, so that the viewer works behind a base path.
SwaggerUIBundle({
  url: isComfy ? "docs/comfy.json" : "openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  // A key is a secret: it stays in this page's memory and is gone when the page is reloaded.
  persistAuthorization: false,
  plugins: [samples],
  requestSnippetsEnabled: true,
  tryItOutEnabled: true,
  validatorUrl: null, // the default would send the document to a public service
});
