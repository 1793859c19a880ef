-- Who is on a card is asked for with every encode and scan.
CREATE INDEX acs_credential_by_card ON acs_credential (card_number) WHERE card_number IS NOT NULL;
