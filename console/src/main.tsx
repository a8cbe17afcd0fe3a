import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app.js";
import { TextsProvider } from "./texts/index.js";
import "./styles/index.css";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <TextsProvider>
      <App />
    </TextsProvider>
  </StrictMode>,
);
