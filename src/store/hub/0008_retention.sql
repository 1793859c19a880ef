-- What happened is forgotten after a while. An event that is to be delivered is not, and is asked for by its id.
CREATE INDEX webhook_delivery_of_event ON webhook_delivery (event_id);
