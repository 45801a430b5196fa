/** What the page adds to the HTML of a reply: a head with language and copy button on code, tables that scroll. */

function element(name: string, className: string, text = ''): HTMLElement {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Regions that scroll must be reachable with the keyboard. */
function makeScrollable(scroller: HTMLElement, label: string): void {
  scroller.tabIndex = 0;
  scroller.setAttribute('role', 'region');
  scroller.setAttribute('aria-label', label);
}

function decorateCode(pre: HTMLElement): void {
  const language = /^language-(\S+)/.exec(pre.firstElementChild?.className ?? '')?.[1] ?? '';
  const box = element('div', 'code');
  const head = element('div', 'code-head');
  const copy = element('button', 'code-copy', 'Copy') as HTMLButtonElement;
  copy.type = 'button';
  copy.setAttribute('aria-label', language ? `Copy ${language} code` : 'Copy code');
  head.append(element('span', 'code-language', language || 'text'), copy);
  pre.replaceWith(box);
  box.append(head, pre);
  makeScrollable(pre, language ? `${language} code` : 'Code');
}

function decorateTable(table: HTMLElement): void {
  const box = element('div', 'table-scroll');
  table.replaceWith(box);
  box.append(table);
  makeScrollable(box, 'Table');
}

export function decorate(fragment: DocumentFragment): void {
  fragment.querySelectorAll<HTMLElement>('pre').forEach(decorateCode);
  fragment.querySelectorAll<HTMLElement>('table').forEach(decorateTable);
}
