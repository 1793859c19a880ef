// Makes elements. Text is always text: nothing here reads HTML.

/** `el('p', {class: 'x', onclick: f}, 'text', child)`; properties that are null or false are left out. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value') element.value = value;
    else if (name === 'checked') element.checked = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Changes an element's text only when it is another one, so that nothing is read aloud twice. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let ids = 0;

/** A name for an element that another one points to. */
export function id(prefix) {
  ids += 1;
  return `${prefix}-${ids}`;
}

/** A field with its label, and room for what is wrong with it. */
export function field(label, input, { hint = null, classes = '' } = {}) {
  input.id ||= id('field');
  const problem = el('p', { class: 'problem', id: `${input.id}-problem` });
  const described = [hint && `${input.id}-hint`, problem.id].filter(Boolean);
  input.setAttribute('aria-describedby', described.join(' '));
  const whole = el('div', { class: `field ${classes}` }, el('label', { for: input.id }, label),
    hint && el('p', { class: 'hint', id: `${input.id}-hint` }, hint), input, problem);
  whole.wrong = (text) => {
    say(problem, text ?? '');
    if (text) input.setAttribute('aria-invalid', 'true');
    else input.removeAttribute('aria-invalid');
  };
  return whole;
}

/** Asks before something that cannot be undone. Returns whether it was confirmed. */
export function confirmed({ title, lead, yes, no, danger = true }) {
  return new Promise((resolve) => {
    const heading = id('dialog');
    const dialog = el('dialog', { 'aria-labelledby': heading },
      el('h2', { id: heading }, title), el('p', {}, lead),
      el('div', { class: 'actions' },
        el('button', { type: 'button', class: danger ? 'danger' : 'primary', onclick: () => dialog.close('yes') }, yes),
        el('button', { type: 'button', onclick: () => dialog.close('') }, no)));
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector('.actions button:last-child').focus();
  });
}
