/**
 * xterm.js makes style elements when it opens, which our content security policy refuses. While `open` runs, they are
 * made as constructed style sheets instead, which are allowed.
 */
export function withConstructedStyles(open: () => void): void {
  const createElement = document.createElement.bind(document);
  // An own property of the document, over its prototype's; gone as soon as `open` returns.
  document.createElement = ((name: string, options?: ElementCreationOptions) =>
    name === 'style' ? styleElement() : createElement(name, options)) as typeof document.createElement;
  try {
    open();
  } finally {
    Reflect.deleteProperty(document, 'createElement');
  }
}

/** Looks like a style element to who fills it: its text goes to a style sheet of the document, until it is removed. */
function styleElement(): HTMLElement {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  const element = Document.prototype.createElement.call(document, 'span');
  element.hidden = true;
  Object.defineProperty(element, 'textContent', {
    set: (text: string) => sheet.replaceSync(text),
  });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}
