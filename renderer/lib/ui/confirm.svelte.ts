/** Questions before something that cannot be undone, or that needs a name. */

export interface Question {
  title: string;
  message: string;
  /** Further lines, e.g. what is deleted and what stays. */
  details?: string[];
  /** A text that is asked for; without it there is no yes. */
  input?: { label: string; value: string };
  /** What may be added to the yes. */
  choices?: { value: string; label: string; help?: string; chosen?: boolean }[];
  confirm: string;
  cancel?: string;
  danger?: boolean;
}

class Confirm {
  question = $state.raw<Question | null>(null);
  /** The text, and the values of the choices, as they are when yes is said. */
  text = $state('');
  chosen = $state<string[]>([]);
  #answer: ((yes: boolean) => void) | null = null;

  /** Asks; one question at a time, a new one answers the old with no. */
  ask(question: Question): Promise<boolean> {
    this.#answer?.(false);
    this.question = question;
    this.text = question.input?.value ?? '';
    this.chosen = (question.choices ?? []).filter(({ chosen }) => chosen).map(({ value }) => value);
    return new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  answer(yes: boolean): void {
    this.question = null;
    this.#answer?.(yes);
    this.#answer = null;
  }
}

export const confirm = new Confirm();
