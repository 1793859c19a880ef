-- Cards whose writing was begun here and not verified. A card that nothing closes shows by this alone whose it is.
CREATE TABLE begun_cards (
    card_number TEXT PRIMARY KEY,
    begun_at BIGINT NOT NULL
);
